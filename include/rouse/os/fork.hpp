// fork_hook and process_mark on this platform. One of the two headers is empty.
#pragma once
#include <rouse/os/posix/fork.hpp>
#include <rouse/os/windows/fork.hpp>
