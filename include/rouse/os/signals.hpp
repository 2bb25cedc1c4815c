// Signals on this platform: one of the two gives names to namespace rouse::os.
#pragma once
#include <rouse/os/linux/signals.hpp>
#include <rouse/os/windows/signals.hpp>
