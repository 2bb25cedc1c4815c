// signal_table on this platform. One of the two headers is empty.
#pragma once
#include <rouse/os/posix/signals.hpp>
#include <rouse/os/windows/signals.hpp>
