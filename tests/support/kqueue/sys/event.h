// Found in place of the system's header by a build with -DROUSE_KQUEUE=1 -Itests/support/kqueue.
#pragma once
#include "../../kqueue_emulation.hpp"
