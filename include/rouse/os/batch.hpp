// Several datagrams at once, without waiting. All but one of the headers are empty.
#pragma once
#include <rouse/os/darwin/batch.hpp>
#include <rouse/os/linux/batch.hpp>
#include <rouse/os/windows/batch.hpp>
