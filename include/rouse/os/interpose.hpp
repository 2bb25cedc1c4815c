// The blocking calls of this platform, made to park flows.
#pragma once
#include <rouse/config.hpp>
#include <rouse/os/linux/interpose.hpp>
#include <rouse/os/windows/interpose.hpp>
