// context, a flow of execution with its own stack, on this platform. One of the two headers is
// empty.
#pragma once
#include <rouse/os/posix/context.hpp>
#include <rouse/os/windows/context.hpp>
