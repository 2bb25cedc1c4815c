// Several datagrams at once, without waiting.
#pragma once
#include <rouse/os/linux/batch.hpp>
#include <rouse/os/windows/batch.hpp>
