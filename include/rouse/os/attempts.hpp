// What an attempt tries: system calls that never wait. False: they would have to; else the answer
// is in `bytes` and `error`.
#pragma once
#include <rouse/os/posix/attempts.hpp>
#include <rouse/os/windows/attempts.hpp>
