// fork(2) on this platform: one of the two gives names to namespace rouse::os.
#pragma once
#include <rouse/os/linux/fork.hpp>
#include <rouse/os/windows/fork.hpp>
