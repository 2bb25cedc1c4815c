// The engines and schedulers under test are compiled in main.cpp only, not in each test file.
#pragma once
#include <rouse/rouse.hpp>

#include <cstddef>

#ifdef TESTING_MAIN
#define TESTING_COMPILED_ONCE template
#else
#define TESTING_COMPILED_ONCE extern template
#endif

#define TESTING_ENGINE(Driver, Threading)                                                          \
  TESTING_COMPILED_ONCE class rouse::basic_engine<rouse::Driver, rouse::Threading>;
// For a driver that chooses, each driver that it may choose.
#define TESTING_TURN(Driver, Threading, Chosen)                                                    \
  TESTING_COMPILED_ONCE std::size_t                                                                \
      rouse::basic_engine<rouse::Driver, rouse::Threading>::turn_with<rouse::Chosen>(              \
          rouse::clock::time_point) noexcept;

#if ROUSE_WINDOWS
TESTING_ENGINE(iocp_driver, one_thread)
TESTING_ENGINE(iocp_driver, any_thread)
#elif ROUSE_KQUEUE
TESTING_ENGINE(kqueue_driver, one_thread)
TESTING_ENGINE(kqueue_driver, any_thread)
#else
TESTING_COMPILED_ONCE class rouse::poll_driver<rouse::detail::epoll_set>;
TESTING_COMPILED_ONCE class rouse::io_uring_driver<false>;
TESTING_COMPILED_ONCE class rouse::io_uring_driver<true>;
TESTING_ENGINE(epoll_driver, one_thread)
TESTING_ENGINE(epoll_driver, any_thread)
TESTING_ENGINE(io_uring_driver<false>, one_thread)
TESTING_ENGINE(io_uring_driver<true>, any_thread)
TESTING_ENGINE(native_driver<false>, one_thread)
TESTING_ENGINE(native_driver<true>, any_thread)
TESTING_TURN(native_driver<false>, one_thread, epoll_driver)
TESTING_TURN(native_driver<false>, one_thread, io_uring_driver<false>)
TESTING_TURN(native_driver<true>, any_thread, epoll_driver)
TESTING_TURN(native_driver<true>, any_thread, io_uring_driver<true>)
#endif

#undef TESTING_ENGINE
#undef TESTING_TURN

TESTING_COMPILED_ONCE class rouse::basic_scheduler<rouse::native_engine, rouse::coroutine_waker>;
TESTING_COMPILED_ONCE class rouse::basic_scheduler<rouse::native_engine, rouse::fiber_waker>;
TESTING_COMPILED_ONCE class rouse::basic_scheduler<rouse::shared_native_engine,
                                                   rouse::thread_waker>;
TESTING_COMPILED_ONCE class rouse::basic_scheduler<rouse::native_engine, rouse::callback_waker>;
