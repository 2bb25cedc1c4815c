// std::chrono's durations and clocks: <chrono> without its calendar and time zones, which are
// thousands of lines. Whoever needs those includes it.
#pragma once
#include <condition_variable> // whose waits take durations, and need the clocks
#if !defined(__GLIBCXX__) // other libraries read all of it with the above, or little
#include <chrono>
#endif
