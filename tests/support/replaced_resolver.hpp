// A replacement of the system's resolver: names that are held back, found or not found, without a
// network.
#pragma once
#include <support/testing.hpp>

#include <condition_variable>
#include <mutex>

namespace testing {

/// Looks names up in place of the system. Outlives the schedulers that use it.
/// - "held...": found once `release` is called; other names at once
/// - "missing", "refused", "broken": host_not_found, try_again, an exception
/// - a service other than "" and "known": service_not_found; "known" is 7
/// - the result: 127.0.0.1 and ::1, or `answers`
class replaced_resolver {
public:
  replaced_resolver() {
    until_nobody_looks_up();
    const std::lock_guard lock(shared().mutex);
    shared().released = false;
    shared().begun = 0;
    shared().answers = {{"127.0.0.1", 0}, {"::1", 0}};
    rouse::detail::lookup_helpers::look_up = &answer;
  }
  replaced_resolver(const replaced_resolver&) = delete;
  replaced_resolver& operator=(const replaced_resolver&) = delete;
  ~replaced_resolver() {
    rouse::detail::lookup_helpers::look_up = &rouse::os::look_up;
    release();
    until_nobody_looks_up();
  }

  void answers(std::vector<rouse::endpoint> found) {
    const std::lock_guard lock(shared().mutex);
    shared().answers = std::move(found);
  }
  void release() {
    const std::lock_guard lock(shared().mutex);
    shared().released = true;
    shared().changed.notify_all();
  }
  /// The number of lookups that have begun.
  int begun() const {
    const std::lock_guard lock(shared().mutex);
    return shared().begun;
  }
  /// Waits until that many lookups are held.
  void until_inside(int n) {
    std::unique_lock lock(shared().mutex);
    if (!shared().changed.wait_for(lock, patience, [n] { return shared().inside >= n; }))
      FAIL("a lookup did not begin");
  }

private:
  static void until_nobody_looks_up() {
    while (rouse::detail::lookup_helpers::threads() != 0) std::this_thread::yield();
  }

  struct state {
    std::mutex mutex;
    std::condition_variable changed;
    bool released = false;
    int begun = 0, inside = 0;
    std::vector<rouse::endpoint> answers;
  };
  // Never destroyed: a program may exit during a lookup.
  static state& shared() {
    static state& s = *new state;
    return s;
  }

  static rouse::failure answer(const std::string& host, const std::string& service,
                               std::vector<rouse::endpoint>& found) {
    state& s = shared();
    std::unique_lock lock(s.mutex);
    ++s.begun;
    ++s.inside;
    s.changed.notify_all();
    if (host.starts_with("held")) s.changed.wait(lock, [&] { return s.released; });
    --s.inside;
    s.changed.notify_all();
    if (host == "missing") return rouse::resolve_error::host_not_found;
    if (host == "refused") return rouse::resolve_error::try_again;
    if (host == "broken") throw std::bad_alloc();
    if (!service.empty() && service != "known") return rouse::resolve_error::service_not_found;
    found = s.answers;
    for (auto& ep : found) ep.port(service == "known" ? 7 : 0);
    return {};
  }
};

} // namespace testing
