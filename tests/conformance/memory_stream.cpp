// The scenarios of streams over a network in memory, without a system call.
#include <support/memory_driver.hpp>
#include <support/testing.hpp>

namespace testing {

using memory_engine = rouse::basic_engine<memory_driver>;
using memory_schedulers = std::tuple<rouse::basic_scheduler<memory_engine, rouse::coroutine_waker>,
                                     rouse::basic_scheduler<memory_engine, rouse::fiber_waker>,
                                     rouse::basic_scheduler<memory_engine, rouse::callback_waker>>;

} // namespace testing

#define TESTING_IN_MEMORY 1
#define every_scheduler memory_schedulers
#define every_single memory_schedulers
#undef TEMPLATE_LIST_TEST_CASE
#define TEMPLATE_LIST_TEST_CASE(name, tags, list)                                                  \
  INTERNAL_CATCH_TEMPLATE_LIST_TEST_CASE("in memory: " name, tags, list)
#include <scenarios/stream.cpp>
