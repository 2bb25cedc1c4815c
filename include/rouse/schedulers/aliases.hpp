// The schedulers by name.
#pragma once
#include <rouse/config.hpp>
#include <rouse/engines/native.hpp>
#include <rouse/schedulers/basic_scheduler.hpp>
#include <rouse/wakers/callback.hpp>
#include <rouse/wakers/coroutine.hpp>
#include <rouse/wakers/fiber.hpp>
#include <rouse/wakers/thread.hpp>

namespace rouse { inline namespace ROUSE_ABI {

/// A call gives an awaitable; the awaiting coroutine waits.
using coroutines = basic_scheduler<native_engine, coroutine_waker>;
/// A call returns its value; the calling fiber waits.
using fibers = basic_scheduler<native_engine, fiber_waker>;
/// A call returns its value; the calling thread waits. Any thread may call.
using threads = basic_scheduler<shared_native_engine, thread_waker>;
/// A call takes a handler; nobody waits.
using callbacks = basic_scheduler<native_engine, callback_waker>;

/// What `spawn` of fibers gives: a fiber is joined, cancelled or killed by it.
using tasklet = flow_handle<fibers>;

}} // namespace rouse::ROUSE_ABI
