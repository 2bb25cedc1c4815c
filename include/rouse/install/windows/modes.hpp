// Which sockets do not block. Windows does not tell, so it is noted when somebody says so.
#pragma once
#include <rouse/config.hpp>
#include <rouse/detail/guarded.hpp>
#include <rouse/install/windows/real_calls.hpp>
#include <rouse/os/windows/socket.hpp>

#if ROUSE_WINDOWS
#include <mutex>
#include <unordered_map>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// The sockets that are in non-blocking mode: because the program says so, or because flows call
/// functions on them that must not wait (Windows has no flag for that), though for the program they
/// block.
///
/// Threads: any.
class socket_modes {
public:
  /// The program has put it into this mode, or made it.
  static void note(native_handle_type h, bool blocks) noexcept {
    socket_modes& all = instance();
    const std::lock_guard lock(all.mutex_);
    if (blocks)
      all.modes_.erase(h);
    else
      (void)all.remember(h, mode::nonblocking_for_program);
  }
  [[nodiscard]] static bool blocks(native_handle_type h) noexcept {
    socket_modes& all = instance();
    const std::lock_guard lock(all.mutex_);
    const auto found = all.modes_.find(h);
    return found == all.modes_.end() || found->second == mode::nonblocking_for_fibers;
  }

  /// From now on its calls do not wait, until `restore`. False: they still may.
  static bool make_nonblocking(native_handle_type h) noexcept {
    socket_modes& all = instance();
    const std::lock_guard lock(all.mutex_);
    if (all.modes_.contains(h)) return true;
    if (!all.remember(h, mode::nonblocking_for_fibers)) return false;
    if (set(h, 1)) return true;
    all.modes_.erase(h);
    return false;
  }
  static void restore(native_handle_type h) noexcept {
    socket_modes& all = instance();
    const std::lock_guard lock(all.mutex_);
    const auto found = all.modes_.find(h);
    if (found == all.modes_.end() || found->second != mode::nonblocking_for_fibers) return;
    (void)set(h, 0);
    all.modes_.erase(found);
  }
  /// It is about to be closed: its number may be another's at once. @returns whether it was lent.
  static bool forget(native_handle_type h) noexcept {
    socket_modes& all = instance();
    const std::lock_guard lock(all.mutex_);
    const auto found = all.modes_.find(h);
    if (found == all.modes_.end()) return false;
    const bool for_fibers = found->second == mode::nonblocking_for_fibers;
    all.modes_.erase(found);
    return for_fibers;
  }
  static void restore_all() noexcept {
    socket_modes& all = instance();
    const std::lock_guard lock(all.mutex_);
    for (const auto& [h, m] : all.modes_) {
      if (m == mode::nonblocking_for_fibers) (void)set(h, 0);
    }
    all.modes_.clear();
  }

  static bool set(native_handle_type h, u_long non_blocking) noexcept {
    return real::ioctlsocket(h, static_cast<long>(FIONBIO), &non_blocking) == 0;
  }

private:
  enum class mode : unsigned char { nonblocking_for_program, nonblocking_for_fibers };

  bool remember(native_handle_type h, mode m) noexcept {
    const auto insert = [&] { return modes_.insert_or_assign(h, m), true; };
    return rouse::detail::guarded(insert, [] { return false; });
  }
  // Never destroyed: calls are made until the process is gone.
  static socket_modes& instance() noexcept {
    static socket_modes& all = *new socket_modes;
    return all;
  }

  std::mutex mutex_;
  std::unordered_map<native_handle_type, mode> modes_;
};

}}} // namespace rouse::ROUSE_ABI::os
#endif
