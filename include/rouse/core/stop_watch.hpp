// How a call listens to a stop_token.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/operation.hpp>

#include <atomic>
#include <optional>
#include <stop_token>
#include <thread>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

// The part of a call that listens to a stop_token: from any thread, hence by a request to the
// engine.
template <class Engine>
class stop_watch {
public:
  void watch(Engine& engine, operation& op, const std::stop_token& token) noexcept {
    if (!token.stop_possible()) return;
    request_.op = &op;
    callback_.emplace(token, request{&engine, this});
  }
  // Afterwards nothing of a request is left anywhere. (The callback's destructor waits for one that
  // is running.)
  void forget(Engine& engine) noexcept {
    if (!callback_) return;
#if defined(__GLIBCXX__) && !defined(_GLIBCXX_HAVE_LINUX_FUTEX)
    // That destructor may sleep for ever: where there are no futexes, libstdc++'s semaphore loses a
    // wake-up that comes just as it goes to sleep. Hence not before the callback has ended.
    while (running_.load(std::memory_order_relaxed)) std::this_thread::yield();
#endif
    callback_.reset();
    engine.withdraw(request_);
  }

private:
  struct request {
    Engine* engine;
    stop_watch* self;
    void operator()() const noexcept {
      self->running_.store(true, std::memory_order_relaxed);
      engine->request_stop(self->request_);
      self->running_.store(false, std::memory_order_relaxed);
    }
  };
  typename Engine::stop_request request_;
  std::atomic<bool> running_{false}; // the callback
  std::optional<std::stop_callback<request>> callback_;
};

struct no_watch {};

}}} // namespace rouse::ROUSE_ABI::detail
