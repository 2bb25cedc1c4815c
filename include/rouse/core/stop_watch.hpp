// Cancels a call when a stop is requested of its stop_token.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/operation.hpp>

#include <atomic>
#include <optional>
#include <stop_token>
#include <thread>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

// The stop callback of a call. Any thread may request the stop, so the callback only posts a
// request to the engine.
template <class Engine>
class stop_watch {
public:
  void watch(Engine& engine, operation& op, const std::stop_token& token) noexcept {
    if (!token.stop_possible()) return;
    request_.op = &op;
    callback_.emplace(token, request{&engine, this});
  }
  // Afterwards no callback runs and no request is queued.
  void forget(Engine& engine) noexcept {
    if (!callback_) return;
    // The callback's destructor waits by a semaphore for a callback that runs on another thread. If
    // a wake-up gets lost as it goes to sleep, it waits for ever: so wait here until the callback
    // has returned.
    if constexpr (ROUSE_LOSSY_SEMAPHORE) {
      while (running_.load(std::memory_order_relaxed)) std::this_thread::yield();
    }
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
  std::atomic<bool> running_{false}; // the callback runs
  std::optional<std::stop_callback<request>> callback_;
};

struct no_watch {};

}}} // namespace rouse::ROUSE_ABI::detail
