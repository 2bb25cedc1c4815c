// Signals on this platform: one of the two gives names to namespace rouse::os.
#pragma once
#include <rouse/os/posix/signals.hpp>
#include <rouse/os/windows/signals.hpp>
