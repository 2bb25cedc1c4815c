// Looking up names blocks, so threads of the library's own do it: how the question gets to them,
// and the answer back into the loop.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/waiting.hpp>
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

/// A question to the system's resolver. Shared by who asked, who may leave at any time, and by who
/// answers, who cannot be interrupted: the last one frees it.
class lookup : public list_node {
public:
  one_shot_event completed{
      "name lookup"}; ///< opened in the asking scheduler's loop, which owns what follows
  failure why;
  std::vector<endpoint> found;

protected:
  /// @param service  empty where the port is known.
  lookup(std::string host, std::string service, std::uint16_t port)
      : host_(std::move(host)), service_(std::move(service)), port_(port) {}
  virtual ~lookup() = default;

  void drop() noexcept {
    // Release and acquire pair up: the destroyer sees what the other one wrote.
    if (shares_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

private:
  friend class lookup_helpers;
  /// The answer is there, and who asked as well, until this returns: sends it to his loop, which
  /// drops the answerer's share.
  virtual void report() noexcept = 0;

  const std::string host_, service_;
  const std::uint16_t port_;
  bool wanted_ = true; // guarded by the helpers' mutex
  std::atomic<int> shares_{1};
};

/// The threads that look up. One is started when a question finds those that there are at work, up
/// to `most`; further questions wait, in order. A thread ends when no question is left, so that an
/// idle program has none, and nothing to wait for at its exit.
///
/// Nobody joins a thread: one that hangs in the resolver at the program's exit ends with it. So the
/// helpers are never destroyed. Threads: any.
class lookup_helpers {
public:
  static constexpr int most = 8;

  using function = failure(const std::string& host, const std::string& service,
                           std::vector<endpoint>& found);
  /// How to look up; tests have their own.
  static inline std::atomic<function*> look_up{&os::look_up};

  /// Opens `l.answered` some time, unless `leave` comes first.
  static failure request(lookup& l) noexcept {
    lookup_helpers& h = all();
    const std::lock_guard lock(h.mutex_);
    if (h.threads_ != most && !h.start_thread() && h.threads_ == 0)
      return std::errc::resource_unavailable_try_again;
    l.shares_.fetch_add(1, std::memory_order_relaxed);
    h.waiting_.push_back(l);
    return {};
  }

  /// Who asked wants no answer any more, or has it.
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

  /// How many threads there are now.
  [[nodiscard]] static int threads() noexcept {
    lookup_helpers& h = all();
    const std::lock_guard lock(h.mutex_);
    return h.threads_;
  }

private:
  // In memory of the program's own, as it must not run out, and never destroyed.
  static lookup_helpers& all() noexcept {
    alignas(lookup_helpers) static unsigned char place[sizeof(lookup_helpers)];
    static lookup_helpers& instance = *::new (place) lookup_helpers;
    return instance;
  }

  bool start_thread() noexcept {
    ROUSE_TRY {
      const os::without_signals inherited;
      std::thread([this] { run(); }).detach();
      ++threads_;
      return true;
    }
    ROUSE_CATCH(...) { return false; }
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
    ROUSE_TRY {
      l.why = look_up.load(std::memory_order_relaxed)(l.host_, l.service_, l.found);
      if (!l.service_.empty()) return;
      for (endpoint& ep : l.found) ep.port(l.port_);
    }
    ROUSE_CATCH(...) { l.why = std::errc::not_enough_memory; }
  }

  // A forked child has neither the helper threads nor a waiter for their answers.
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

/// A question asked from the loop of an engine.
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
/// The share of who asks.
using lookup_share = std::unique_ptr<lookup, leave_lookup>;

}}} // namespace rouse::ROUSE_ABI::detail
