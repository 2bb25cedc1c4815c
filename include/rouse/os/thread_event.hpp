// thread_event on this platform. One of the two headers is empty.
#pragma once
#include <rouse/os/linux/thread_event.hpp>
#include <rouse/os/windows/thread_event.hpp>
