// io_uring: buffers that the kernel takes when it has bytes to receive.
//
//   offer() -----> entries[tail] = buffer, its place is its id --> kernel: takes the oldest
//   take(id) <---- a completion with the id of the buffer that it filled
//
// The address stays in its entry until `take`, so that the table also says which buffers are out.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/linux/io_uring.hpp>

#if ROUSE_LINUX
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace os { namespace uring {

// Source: io_uring_register(2), <linux/io_uring.h>.
struct buffer_entry {
  std::uint64_t addr;
  std::uint32_t len;
  std::uint16_t id, tail; // tail: of the ring, in the first entry only
};
static_assert(sizeof(buffer_entry) == 16);
struct buffer_ring_registration {
  std::uint64_t ring_addr;
  std::uint32_t ring_entries;
  std::uint16_t group, flags;
  std::uint64_t resv[3];
};
static_assert(sizeof(buffer_ring_registration) == 40);

/// One group of buffers from which the kernel takes one when it has bytes to receive. Since Linux
/// 5.19.
class buffer_ring {
public:
  static constexpr std::uint16_t entries = 512; // a power of two

  /// Registers the buffers with the ring `fd`. Called again if a new ring replaces that one.
  failure create(int fd) noexcept {
    if (!entries_.mapped() && !entries_.map(-1, entries * sizeof(buffer_entry), 0))
      return last_error();
    buffer_ring_registration r{};
    r.ring_addr = reinterpret_cast<std::uintptr_t>(entries_.at<buffer_entry>(0));
    r.ring_entries = entries;
    return outcome(
        static_cast<int>(::syscall(SYS_io_uring_register, fd, register_buffer_ring, &r, 1)));
  }

  /// Whether the buffer that was here before has been taken, so that another can be offered.
  [[nodiscard]] bool has_room() const noexcept { return at(tail_).addr == 0; }
  /// Lends the kernel a buffer until a completion returns it. Precondition: `has_room`.
  void offer(void* bytes, std::size_t size) noexcept {
    buffer_entry& e = at(tail_);
    e.addr = reinterpret_cast<std::uintptr_t>(bytes);
    e.len = static_cast<std::uint32_t>(size);
    e.id = tail_ % entries;
    publish(++tail_);
  }
  /// The buffer that was offered with this id; null if it was taken before.
  [[nodiscard]] void* take(std::uint16_t id) noexcept {
    return reinterpret_cast<void*>(std::exchange(at(id).addr, 0));
  }
  /// The newest buffer. Precondition: the kernel has not taken it, and is not about to.
  [[nodiscard]] void* withdraw() noexcept {
    publish(--tail_);
    return take(tail_);
  }

private:
  [[nodiscard]] buffer_entry& at(std::uint16_t index) const noexcept {
    return entries_.at<buffer_entry>(0)[index % entries];
  }
  // Release: the kernel reads an entry after it has read the tail.
  void publish(std::uint16_t tail) noexcept {
    std::atomic_ref(at(0).tail).store(tail, std::memory_order_release);
  }

  mapping entries_;
  std::uint16_t tail_ = 0;
};

}}}} // namespace rouse::ROUSE_ABI::os::uring
#endif
