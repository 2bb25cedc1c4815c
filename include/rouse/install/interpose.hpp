// The blocking calls of this platform, made to park flows.
#pragma once
#include <rouse/config.hpp>
#include <rouse/install/linux/interpose.hpp>
#include <rouse/install/windows/interpose.hpp>
