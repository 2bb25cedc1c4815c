// The names of the schedulers.
#pragma once
#include <rouse/config.hpp>
#include <rouse/engines/native.hpp>
#include <rouse/schedulers/basic_scheduler.hpp>
#include <rouse/wakers/callback.hpp>
#include <rouse/wakers/coroutine.hpp>
#include <rouse/wakers/fiber.hpp>
#include <rouse/wakers/thread.hpp>

namespace rouse { inline namespace ROUSE_ABI {

/// A call returns an awaitable; the awaiting coroutine is suspended.
using coroutines = basic_scheduler<native_engine, coroutine_waker>;
/// A call returns its value; the calling fiber is suspended.
using fibers = basic_scheduler<native_engine, fiber_waker>;
/// A call returns its value; the calling thread blocks. Any thread may call.
using threads = basic_scheduler<shared_native_engine, thread_waker>;
/// A call takes a handler and returns at once.
using callbacks = basic_scheduler<native_engine, callback_waker>;

/// The handle of a fiber, which `spawn` returns: joins, cancels or kills it.
using tasklet = flow_handle<fibers>;

}} // namespace rouse::ROUSE_ABI
