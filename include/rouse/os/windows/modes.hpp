// Which sockets do not block. Windows does not tell, so it is noted when a program says so.
#pragma once
#include <rouse/config.hpp>
#include <rouse/os/windows/socket.hpp>

#if ROUSE_WINDOWS
#include <mutex>
#include <unordered_set>

namespace rouse::inline ROUSE_ABI::os {

/// The sockets that are in non-blocking mode, as far as the calls in the import tables have seen.
///
/// Threads: any.
class nonblocking_sockets {
public:
  static void note(native_handle_type h, bool blocks) noexcept {
    nonblocking_sockets& all = instance();
    const std::lock_guard lock(all.mutex_);
    ROUSE_TRY {
      if (blocks)
        all.handles_.erase(h);
      else
        all.handles_.insert(h);
    }
    ROUSE_CATCH(...) {} // no memory: it is taken for one that blocks
  }
  [[nodiscard]] static bool has(native_handle_type h) noexcept {
    nonblocking_sockets& all = instance();
    const std::lock_guard lock(all.mutex_);
    return all.handles_.contains(h);
  }
  static void forget_all() noexcept {
    nonblocking_sockets& all = instance();
    const std::lock_guard lock(all.mutex_);
    all.handles_.clear();
  }

private:
  // Never destroyed: calls are made until the process is gone.
  static nonblocking_sockets& instance() noexcept {
    static nonblocking_sockets& all = *new nonblocking_sockets;
    return all;
  }

  std::mutex mutex_;
  std::unordered_set<native_handle_type> handles_;
};

} // namespace rouse::inline ROUSE_ABI::os
#endif
