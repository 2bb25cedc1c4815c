// fork(2) on this platform: one of the two gives names to namespace rouse::os.
#pragma once
#include <rouse/os/posix/fork.hpp>
#include <rouse/os/windows/fork.hpp>
