// Several datagrams at once, without waiting. One of the two headers is empty.
#pragma once
#include <rouse/os/linux/batch.hpp>
#include <rouse/os/windows/batch.hpp>
