// The only clock that the library reads.
#pragma once
#include <rouse/config.hpp>
#include <rouse/detail/chrono.hpp>

namespace rouse { inline namespace ROUSE_ABI {

/// The clock of all limits and sleeps: monotonic, so that setting the wall clock ends no call. Its
/// time points are those of std::chrono::steady_clock.
///
/// A simulated world replaces it for its own thread. Cost: that of steady_clock::now(), and the
/// look at one thread-local pointer.
class clock {
public:
  using duration = std::chrono::steady_clock::duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::steady_clock::time_point;
  static constexpr bool is_steady = true;

  static time_point now() noexcept {
    if (const replacement* const r = replaced()) return r->now_;
    return std::chrono::steady_clock::now();
  }

  /// While it exists, `now()` gives, on the thread that created it, the time that it was set to.
  /// Lend it to a driver that lets time pass in its `wait`. One per thread; it never goes back.
  class replacement {
  public:
    explicit replacement(time_point start) noexcept : now_(start) { replaced() = this; }
    replacement(const replacement&) = delete;
    replacement& operator=(const replacement&) = delete;
    ~replacement() { replaced() = nullptr; }

    void advance_to(time_point t) noexcept {
      if (t > now_) now_ = t;
    }

  private:
    friend class clock;
    time_point now_;
  };

private:
  static const replacement*& replaced() noexcept {
    static constinit thread_local const replacement* here = nullptr;
    return here;
  }
};

}} // namespace rouse::ROUSE_ABI
