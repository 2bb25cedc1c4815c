// Name lookups in helper threads, because getaddrinfo blocks.
//
//   scheduler's thread                 lookup_helpers                helper thread
//   name_query::begin
//     lookup_helpers::request(l) ----> waiting_, a new thread -----> perform(l): getaddrinfo
//     op waits for l.completed                                           | wanted_?
//     engine_lookup::on_loop <------- engine.post(l) <------- report() --+-- no: drop()
//       set(l.completed)
//     lookup_helpers::leave(l): wanted_ = false, or taken out of waiting_
//
// A lookup has two shares, the call's and the helper's. The call may leave at any time, a helper in
// getaddrinfo cannot be interrupted; the last share frees the lookup.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/waiting.hpp>
#include <rouse/detail/guarded.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/os/fork.hpp>
#include <rouse/os/lookup.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// One request to the system's resolver.
class lookup : public list_node {
public:
  one_shot_event completed{"name lookup"}; ///< set in the loop of the call
  // The result: the helper's until it reports, then the call's.
  failure why;
  std::vector<endpoint> found;

protected:
  /// @param service  empty if the port is known.
  lookup(std::string host, std::string service, std::uint16_t port)
      : host_(std::move(host)), service_(std::move(service)), port_(port) {}
  virtual ~lookup() = default;

  void drop() noexcept {
    // acq_rel: the thread that destroys it sees what the other one wrote.
    if (shares_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

private:
  friend class lookup_helpers;
  /// Posts the result to the loop of the call, which drops the helper's share. The call has not
  /// left before this returns, because the helpers' mutex is locked.
  virtual void report() noexcept = 0;

  const std::string host_, service_;
  const std::uint16_t port_;
  bool wanted_ = true; // guarded by the helpers' mutex
  std::atomic<int> shares_{1};
};

/// The helper threads. A request starts another thread, up to `most`; further requests wait in
/// order. A thread ends when no request is left, so that an idle program has none.
///
/// No thread is joined: one that still blocks in the resolver at the program's exit ends with the
/// process. For this reason the helpers are never destroyed. Threads: any.
class lookup_helpers {
public:
  static constexpr int most = 8;

  using function = failure(const std::string& host, const std::string& service,
                           std::vector<endpoint>& found);
  /// Replaced by tests.
  static inline std::atomic<function*> look_up{&os::look_up};

  /// Sets `l.completed` later, unless `leave` is called first.
  static failure request(lookup& l) noexcept {
    lookup_helpers& h = all();
    const std::lock_guard lock(h.mutex_);
    if (h.threads_ != most && !h.start_thread() && h.threads_ == 0)
      return std::errc::resource_unavailable_try_again;
    l.shares_.fetch_add(1, std::memory_order_relaxed);
    h.waiting_.push_back(l);
    return {};
  }

  /// Gives up the call's share, with or without a result.
  static void leave(lookup& l) noexcept {
    lookup_helpers& h = all();
    {
      const std::lock_guard lock(h.mutex_);
      l.wanted_ = false;
      if (l.linked()) {
        l.unlink();
        l.drop();
      }
    }
    l.drop();
  }

  /// Number of threads.
  [[nodiscard]] static int threads() noexcept {
    lookup_helpers& h = all();
    const std::lock_guard lock(h.mutex_);
    return h.threads_;
  }

private:
  // In static memory, so that it cannot fail, and never destroyed.
  static lookup_helpers& all() noexcept {
    alignas(lookup_helpers) static unsigned char place[sizeof(lookup_helpers)];
    static lookup_helpers& instance = *::new (place) lookup_helpers;
    return instance;
  }

  bool start_thread() noexcept {
    const auto start = [this] {
      const os::without_signals inherited;
      std::thread([this] { run(); }).detach();
      ++threads_;
      return true;
    };
    return guarded(start, [] { return false; });
  }

  void run() noexcept {
    std::unique_lock lock(mutex_);
    while (!waiting_.empty()) {
      lookup& l = waiting_.pop_front();
      lock.unlock();
      perform(l);
      lock.lock();
      if (l.wanted_)
        l.report();
      else
        l.drop();
    }
    --threads_;
  }

  static void perform(lookup& l) noexcept {
    const auto look = [&] {
      l.why = look_up.load(std::memory_order_relaxed)(l.host_, l.service_, l.found);
      if (!l.service_.empty()) return;
      for (endpoint& ep : l.found) ep.port(l.port_);
    };
    guarded(look, [&] { l.why = std::errc::not_enough_memory; });
  }

  // A forked child has neither the helper threads nor a waiter for their results.
  static void on_fork(void* self) noexcept {
    auto& helpers = *static_cast<lookup_helpers*>(self);
    ::new (&helpers.mutex_) std::mutex;
    ::new (&helpers.waiting_) list<lookup>;
    helpers.threads_ = 0;
  }

  std::mutex mutex_;
  list<lookup> waiting_; // not begun
  int threads_ = 0;
  ROUSE_NO_UNIQUE_ADDRESS os::fork_hook in_child_{&lookup_helpers::on_fork, this};
};

/// A lookup that was requested from the loop of an engine.
template <class Engine>
class engine_lookup final : public lookup, Engine::posted {
public:
  engine_lookup(Engine& e, std::string host, std::string service, std::uint16_t port)
      : lookup(std::move(host), std::move(service), port), Engine::posted(&engine_lookup::on_loop),
        engine_(e) {}

private:
  void report() noexcept override { engine_.post(*this); }

  static void on_loop(typename Engine::posted& p, bool call) noexcept {
    auto& self = static_cast<engine_lookup&>(p);
    if (call) self.engine_.set(self.completed);
    self.drop();
  }

  Engine& engine_;
};

struct leave_lookup {
  void operator()(lookup* l) const noexcept { lookup_helpers::leave(*l); }
};
/// The call's share of a lookup.
using lookup_share = std::unique_ptr<lookup, leave_lookup>;

}}} // namespace rouse::ROUSE_ABI::detail
