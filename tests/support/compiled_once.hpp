// The engines and schedulers under test are compiled in main.cpp only, not in each test file.
#pragma once
#include <rouse/rouse.hpp>

#ifdef TESTING_MAIN
#define TESTING_COMPILED_ONCE template
#else
#define TESTING_COMPILED_ONCE extern template
#endif

#if ROUSE_WINDOWS
TESTING_COMPILED_ONCE class rouse::basic_engine<rouse::iocp_driver, rouse::one_thread>;
TESTING_COMPILED_ONCE class rouse::basic_engine<rouse::iocp_driver, rouse::any_thread>;
#elif ROUSE_KQUEUE
TESTING_COMPILED_ONCE class rouse::basic_engine<rouse::kqueue_driver, rouse::one_thread>;
TESTING_COMPILED_ONCE class rouse::basic_engine<rouse::kqueue_driver, rouse::any_thread>;
#else
TESTING_COMPILED_ONCE class rouse::basic_engine<rouse::epoll_driver, rouse::one_thread>;
TESTING_COMPILED_ONCE class rouse::basic_engine<rouse::epoll_driver, rouse::any_thread>;
TESTING_COMPILED_ONCE class rouse::basic_engine<rouse::io_uring_driver<false>, rouse::one_thread>;
TESTING_COMPILED_ONCE class rouse::basic_engine<rouse::io_uring_driver<true>, rouse::any_thread>;
TESTING_COMPILED_ONCE class rouse::basic_engine<rouse::native_driver<false>, rouse::one_thread>;
TESTING_COMPILED_ONCE class rouse::basic_engine<rouse::native_driver<true>, rouse::any_thread>;
#endif
TESTING_COMPILED_ONCE class rouse::basic_scheduler<rouse::native_engine, rouse::coroutine_waker>;
TESTING_COMPILED_ONCE class rouse::basic_scheduler<rouse::native_engine, rouse::fiber_waker>;
TESTING_COMPILED_ONCE class rouse::basic_scheduler<rouse::shared_native_engine,
                                                   rouse::thread_waker>;
TESTING_COMPILED_ONCE class rouse::basic_scheduler<rouse::native_engine, rouse::callback_waker>;

#undef TESTING_COMPILED_ONCE
