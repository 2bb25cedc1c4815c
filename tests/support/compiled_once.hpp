// The engines and the schedulers under test, which each test file would compile anew: main.cpp does
// it for all of them.
#pragma once
#include <rouse/rouse.hpp>

#ifdef TESTING_MAIN
#define TESTING_COMPILED_ONCE template
#else
#define TESTING_COMPILED_ONCE extern template
#endif

TESTING_COMPILED_ONCE class rouse::operation_loop<rouse::one_thread>;
TESTING_COMPILED_ONCE class rouse::operation_loop<rouse::any_thread>;
TESTING_COMPILED_ONCE class rouse::basic_engine<rouse::one_thread>;
TESTING_COMPILED_ONCE class rouse::basic_engine<rouse::any_thread>;
#if ROUSE_WINDOWS
TESTING_COMPILED_ONCE class rouse::basic_iocp_engine<rouse::one_thread>;
TESTING_COMPILED_ONCE class rouse::basic_iocp_engine<rouse::any_thread>;
#else
TESTING_COMPILED_ONCE class rouse::basic_epoll_engine<rouse::one_thread>;
TESTING_COMPILED_ONCE class rouse::basic_epoll_engine<rouse::any_thread>;
TESTING_COMPILED_ONCE class rouse::basic_io_uring_engine<rouse::one_thread>;
TESTING_COMPILED_ONCE class rouse::basic_io_uring_engine<rouse::any_thread>;
TESTING_COMPILED_ONCE struct rouse::basic_native_engine<rouse::one_thread>;
TESTING_COMPILED_ONCE struct rouse::basic_native_engine<rouse::any_thread>;
#endif
TESTING_COMPILED_ONCE class rouse::basic_scheduler<rouse::native_engine, rouse::coroutine_waker>;
TESTING_COMPILED_ONCE class rouse::basic_scheduler<rouse::native_engine, rouse::fiber_waker>;
TESTING_COMPILED_ONCE class rouse::basic_scheduler<rouse::shared_native_engine,
                                                   rouse::thread_waker>;
TESTING_COMPILED_ONCE class rouse::basic_scheduler<rouse::native_engine, rouse::callback_waker>;

#undef TESTING_COMPILED_ONCE
