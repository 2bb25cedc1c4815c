// Sleeping threads, on this platform: one of the two gives names to namespace rouse::os.
#pragma once
#include <rouse/os/linux/thread_event.hpp>
#include <rouse/os/windows/thread_event.hpp>
