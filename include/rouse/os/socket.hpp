// Sockets of this platform: one of the two gives names to namespace rouse::os.
#pragma once
#include <rouse/os/linux/socket.hpp>
#include <rouse/os/windows/socket.hpp>
