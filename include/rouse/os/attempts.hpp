// Socket calls that never wait: recv_now, send_now and others. Each returns false if it would have
// to wait, else true, with the result in `bytes` and `error`. One of the two headers is empty.
#pragma once
#include <rouse/os/posix/attempts.hpp>
#include <rouse/os/windows/attempts.hpp>
