// Records which sockets are in non-blocking mode, since Windows cannot report it.
#pragma once
#include <rouse/config.hpp>
#include <rouse/detail/guarded.hpp>
#include <rouse/install/windows/real_calls.hpp>
#include <rouse/os/windows/socket.hpp>

#if ROUSE_WINDOWS
#include <mutex>
#include <unordered_map>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// The sockets that are in non-blocking mode.
///
///     entry                     mode of the socket   mode as the program knows it
///     none                      blocking             blocking
///     nonblocking_for_program   non-blocking         non-blocking
///     nonblocking_for_fibers    non-blocking         blocking; calls of fibers park them
///
/// Windows has no flag for a call that does not wait, so calls of fibers need the mode.
///
/// Threads: any.
class socket_modes {
public:
  /// Records that the program has made the socket, or has set its mode.
  static void note(native_handle_type h, bool blocks) noexcept {
    socket_modes& all = instance();
    const std::lock_guard lock(all.mutex_);
    if (blocks)
      all.modes_.erase(h);
    else
      (void)all.remember(h, mode::nonblocking_for_program);
  }
  /// Whether calls on the socket block, as the program knows it.
  [[nodiscard]] static bool blocks(native_handle_type h) noexcept {
    socket_modes& all = instance();
    const std::lock_guard lock(all.mutex_);
    const auto found = all.modes_.find(h);
    return found == all.modes_.end() || found->second == mode::nonblocking_for_fibers;
  }

  /// Puts a blocking socket into non-blocking mode until `restore`. False if its calls may still
  /// block.
  static bool make_nonblocking(native_handle_type h) noexcept {
    socket_modes& all = instance();
    const std::lock_guard lock(all.mutex_);
    if (all.modes_.contains(h)) return true;
    if (!all.remember(h, mode::nonblocking_for_fibers)) return false;
    if (set(h, 1)) return true;
    all.modes_.erase(h);
    return false;
  }
  /// Puts the socket back into blocking mode if `make_nonblocking` has changed it.
  static void restore(native_handle_type h) noexcept {
    socket_modes& all = instance();
    const std::lock_guard lock(all.mutex_);
    const auto found = all.modes_.find(h);
    if (found == all.modes_.end() || found->second != mode::nonblocking_for_fibers) return;
    (void)set(h, 0);
    all.modes_.erase(found);
  }
  /// Removes the entry of a socket that is about to be closed, since its number may be reused at
  /// once.
  /// @returns whether fibers had put it into non-blocking mode.
  static bool forget(native_handle_type h) noexcept {
    socket_modes& all = instance();
    const std::lock_guard lock(all.mutex_);
    const auto found = all.modes_.find(h);
    if (found == all.modes_.end()) return false;
    const bool for_fibers = found->second == mode::nonblocking_for_fibers;
    all.modes_.erase(found);
    return for_fibers;
  }
  /// Puts all sockets back that `make_nonblocking` has changed, and removes all entries.
  static void restore_all() noexcept {
    socket_modes& all = instance();
    const std::lock_guard lock(all.mutex_);
    for (const auto& [h, m] : all.modes_) {
      if (m == mode::nonblocking_for_fibers) (void)set(h, 0);
    }
    all.modes_.clear();
  }

  /// Sets the mode without recording it.
  static bool set(native_handle_type h, u_long non_blocking) noexcept {
    return real::ioctlsocket(h, static_cast<long>(FIONBIO), &non_blocking) == 0;
  }

private:
  enum class mode : unsigned char { nonblocking_for_program, nonblocking_for_fibers };

  bool remember(native_handle_type h, mode m) noexcept {
    const auto insert = [&] { return modes_.insert_or_assign(h, m), true; };
    return rouse::detail::guarded(insert, [] { return false; });
  }
  // Never destroyed, since calls are made until the process ends.
  static socket_modes& instance() noexcept {
    static socket_modes& all = *new socket_modes;
    return all;
  }

  std::mutex mutex_;
  std::unordered_map<native_handle_type, mode> modes_;
};

}}} // namespace rouse::ROUSE_ABI::os
#endif
