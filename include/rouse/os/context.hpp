// Stacks of one's own, on this platform: one of the two gives names to namespace rouse::os.
#pragma once
#include <rouse/os/posix/context.hpp>
#include <rouse/os/windows/context.hpp>
