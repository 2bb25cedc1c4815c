// Includes the replacements of this platform's blocking calls.
#pragma once
#include <rouse/config.hpp>
#include <rouse/install/linux/interpose.hpp>
#include <rouse/install/windows/interpose.hpp>
