// The durations and clocks of std::chrono, without the calendar and time zones of <chrono>, which
// are thousands of lines. Code that needs those includes <chrono> itself.
#pragma once
#include <condition_variable> // brings durations and clocks
#if !defined(__GLIBCXX__) // elsewhere it is included above, or small
#include <chrono>
#endif
