// io_uring: the part of the raw kernel interface that the driver uses.
//
//   driver -- next(), submit() --> submission queue
//                                         |
//                                         v
//                                       kernel
//                                         |
//                                         v
//   driver <------- drain() ------- completion queue
//
//   queue       this side writes      the kernel writes
//   submission  entries, sq_tail      sq_head: entries before it are consumed
//   completion  cq_head               entries, cq_tail
//
// Each index is published with release order and read by the other side with acquire order: an
// entry is written before the tail that includes it, and read before the head that frees it.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/os/address.hpp>
#include <rouse/os/linux/poll.hpp>

#if ROUSE_LINUX
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace os { namespace uring {

// The kernel's structures and numbers, defined here because the headers of an older
// distribution lack what a newer kernel offers. Source: io_uring_setup(2), io_uring_enter(2),
// <linux/io_uring.h>.
struct submission {
  std::uint8_t opcode, flags;
  std::uint16_t ioprio;
  std::int32_t fd;
  std::uint64_t off, addr;
  std::uint32_t len, op_flags;
  std::uint64_t user_data;
  std::uint16_t buf_index, personality;
  std::int32_t file_index;
  std::uint64_t pad[2];
};
static_assert(sizeof(submission) == 64);

struct completion {
  std::uint64_t user_data;
  std::int32_t res;
  std::uint32_t flags;
};
static_assert(sizeof(completion) == 16);

struct sq_offsets {
  std::uint32_t head, tail, ring_mask, ring_entries, flags, dropped, array, resv1;
  std::uint64_t user_addr;
};
struct cq_offsets {
  std::uint32_t head, tail, ring_mask, ring_entries, overflow, cqes, flags, resv1;
  std::uint64_t user_addr;
};
struct setup_params {
  std::uint32_t sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd,
      resv[3];
  sq_offsets sq;
  cq_offsets cq;
};
static_assert(sizeof(setup_params) == 120);

struct wait_argument {
  std::uint64_t sigmask;
  std::uint32_t sigmask_size, min_wait_usec;
  std::uint64_t ts;
};
struct kernel_time {
  std::int64_t seconds, nanoseconds;
};
struct fd_update {
  std::uint32_t offset, resv;
  std::uint64_t data;
};

enum opcode : std::uint8_t {
  op_poll_add = 6,
  op_sendmsg = 9,
  op_recvmsg = 10,
  op_accept = 13,
  op_async_cancel = 14,
  op_connect = 16,
  op_read = 22,
  op_send = 26,
  op_recv = 27
};
enum setup : std::uint32_t {
  cq_size = 1u << 3,
  clamp = 1u << 4,
  disabled = 1u << 6,
  submit_all = 1u << 7,
  coop_taskrun = 1u << 8,
  single_issuer = 1u << 12,
  defer_taskrun = 1u << 13,
  no_sqarray = 1u << 16,
};
enum feature : std::uint32_t {
  single_mmap = 1u << 0,
  nodrop = 1u << 1,
  fast_poll = 1u << 5,
  ext_arg = 1u << 8
};
enum enter_flag : std::uint32_t {
  getevents = 1u << 0,
  with_ext_arg = 1u << 3,
  registered_ring = 1u << 4
};
enum registration : unsigned {
  register_eventfd = 4,
  enable_rings = 12,
  register_ring_fds = 20,
  register_buffer_ring = 22
};
/// A flag of a submission: the kernel takes a buffer of group `buf_index` once it has bytes.
inline constexpr std::uint8_t select_buffer = 1u << 5;
/// A flag in the `len` of op_poll_add: the poll continues after its first completion. Since Linux
/// 5.13.
inline constexpr std::uint32_t poll_multishot = 1u;
/// Whether a completion with these flags is not the last of its request.
inline bool follows_more(std::uint32_t flags) noexcept { return (flags & 2u) != 0; }
/// Whether a completion with these flags took a buffer; `buffer_id` tells which.
inline bool took_buffer(std::uint32_t flags) noexcept { return (flags & 1u) != 0; }
inline std::uint16_t buffer_id(std::uint32_t flags) noexcept {
  return static_cast<std::uint16_t>(flags >> 16);
}

/// The events of poll(2) in the form of a submission. Big-endian machines swap the halves.
constexpr std::uint32_t poll_events(short events) noexcept {
  const auto mask = static_cast<std::uint16_t>(events);
  return std::endian::native == std::endian::little ? mask : std::uint32_t{mask} << 16;
}

/// Whether the kernel may send an empty datagram in place of a datagram that has to wait. A
/// Unix-domain datagram socket consumes the bytes before it finds its peer's queue full, and the
/// kernel (6.18) then tries again without them.
inline bool loses_datagrams(int family, int type) noexcept {
  return family == AF_UNIX && type != SOCK_STREAM;
}

/// Whether a completion's error means that the request was cancelled before it did anything.
inline bool was_cut_off(int error) noexcept {
  return error == EINTR || error == EAGAIN || error == ECANCELED;
}

/// Whether the result of op_async_cancel means that there was nothing to cancel.
inline bool found_nothing(int error) noexcept { return error == ENOENT; }

/// Whether a completion's error means that no buffer was left to take.
inline bool lacked_buffer(int error) noexcept { return error == ENOBUFS; }

/// A memory mapping. The destructor unmaps it.
class mapping {
public:
  mapping() noexcept = default;
  mapping(mapping&& other) noexcept : at_(std::exchange(other.at_, nullptr)), size_(other.size_) {}
  mapping& operator=(mapping&& other) noexcept {
    std::swap(at_, other.at_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~mapping() {
    if (at_) ::munmap(at_, size_);
  }
  bool map(int fd, std::size_t size, off_t offset) noexcept {
    const int kind = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    void* p = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, kind | MAP_POPULATE, fd, offset);
    if (p == MAP_FAILED) return false;
    at_ = static_cast<char*>(p);
    size_ = size;
    return true;
  }
  [[nodiscard]] bool mapped() const noexcept { return at_ != nullptr; }
  template <class T>
  [[nodiscard]] T* at(std::size_t offset) const noexcept {
    return reinterpret_cast<T*>(at_ + offset);
  }

private:
  char* at_ = nullptr;
  std::size_t size_ = 0;
};

/// One io_uring instance: a submission queue and a completion queue.
class ring {
public:
  /// Creates the ring with as many of the `wanted` setup flags as the kernel knows.
  /// @param forbidden  flags to be treated as if this kernel did not know them.
  /// @returns operation_not_supported if the kernel is older than Linux 5.11.
  failure create(unsigned entries, std::uint32_t wanted, std::uint32_t forbidden = 0) noexcept {
    failure f;
    // The kernel refuses unknown flags with EINVAL. Leave out the newest first. DEFER_TASKRUN needs
    // SINGLE_ISSUER; the next best is COOP_TASKRUN.
    const std::uint32_t fallbacks[] = {
        wanted, wanted & ~no_sqarray, (wanted & ~(no_sqarray | defer_taskrun)) | coop_taskrun,
        (wanted & ~(no_sqarray | defer_taskrun | single_issuer | disabled)) | coop_taskrun,
        wanted & (cq_size | clamp)};
    for (const std::uint32_t flags : fallbacks) {
      f = (flags & forbidden) ? failure::from_os(EINVAL) : try_create(entries, flags);
      if (f.os_number() != EINVAL) break;
    }
    return f;
  }

  [[nodiscard]] std::uint32_t flags() const noexcept { return flags_; }
  [[nodiscard]] int get() const noexcept { return fd_.get(); }

  /// Starts the ring. Called on the thread that will run it. A ring that is bound to one thread
  /// (SINGLE_ISSUER) also gets a registered index, which is quicker to look up than a descriptor.
  void enable() noexcept {
    if (flags_ & disabled) ::syscall(SYS_io_uring_register, fd_.get(), enable_rings, nullptr, 0);
    if (!(flags_ & single_issuer)) return;
    fd_update u{~0u, 0, static_cast<std::uint64_t>(fd_.get())};
    if (::syscall(SYS_io_uring_register, fd_.get(), register_ring_fds, &u, 1) == 1)
      registered_ = static_cast<int>(u.offset);
  }

  /// Copies the entries that `old` has not submitted yet.
  void take_over(ring& old) noexcept {
    for (unsigned n = old.publish(); n != 0; --n)
      next() = old.sqes_.at<submission>(0)[(old.tail_ - n) & old.sq_mask_];
  }

  /// Whether there is no room for one more submission. If so, submit and check again.
  [[nodiscard]] bool full() const noexcept {
    // Acquire: pairs with the kernel's release after it has consumed an entry.
    return tail_ - std::atomic_ref(*sq_head_).load(std::memory_order_acquire) == sq_entries_;
  }
  /// The next submission, cleared. Precondition: not `full`.
  [[nodiscard]] submission& next() noexcept {
    submission* s = sqes_.at<submission>(0) + (tail_++ & sq_mask_);
    std::memset(s, 0, sizeof *s);
    return *s;
  }

  /// Submits the new entries, and runs deferred task work, which posts completions.
  void submit() noexcept { enter(publish(), false, (clock::time_point::min)()); }
  /// Like `submit`, but then waits for a completion until `until` (max: for ever).
  void submit_and_wait(clock::time_point until) noexcept { enter(publish(), true, until); }
  /// Waits only. Other threads may submit meanwhile.
  void wait(clock::time_point until) noexcept { enter(0, true, until); }

  /// Makes the kernel write to the eventfd `fd` when there is a completion, or deferred task work
  /// that leads to one. Returns false if there is one already, or if memory runs out.
  ///
  /// For the completion of a poll of another eventfd, the kernel writes late or not at all: it
  /// postpones a signal that arises within a write to an eventfd, and does so only once
  /// (io_uring/eventfd.c, Linux 6.18).
  bool signal_next(int fd) noexcept {
    const auto registers = [&] {
      return ::syscall(SYS_io_uring_register, fd_.get(), register_eventfd, &fd, 1) == 0;
    };
    if (!signals_) signals_ = registers();
    // A poll(2) that does not wait reports deferred task work as well.
    pollfd completions{fd_.get(), POLLIN, 0};
    return signals_ && ::poll(&completions, 1, 0) == 0;
  }

  /// The number of completions that wait to be drained.
  [[nodiscard]] std::uint32_t completed() const noexcept {
    return std::atomic_ref(*cq_tail_).load(std::memory_order_acquire) - *cq_head_;
  }

  /// Fetches completions that deferred task work has yet to post, up to about as many as there are
  /// entries for submissions. The kernel posts them in portions of 20 a call, so this repeats while
  /// the portions are full. The rest stays in order with the kernel, and later turns fetch it. If
  /// some thousand were fetched at once, the bytes of the first would leave the cache before the
  /// program reads them. The room that is left in the queue is for requests that complete as they
  /// are submitted: for a completion without room, the kernel allocates memory.
  /// Returns the number of completions.
  std::uint32_t fetch_rest() noexcept {
    constexpr std::uint32_t portion = 20;
    std::uint32_t has = completed();
    for (std::uint32_t had = 0; has - had >= portion && has < sq_entries_; has = completed()) {
      had = has;
      enter(0, false, (clock::time_point::min)());
    }
    return has;
  }

  /// Calls `use(completion)` for each completion that is there. `use` may submit.
  template <class F>
  ROUSE_ALWAYS_INLINE void drain(F&& use) noexcept {
    // Acquire: what the kernel wrote into buffers happens-before what `use` leads to (O3 in the
    // README).
    const std::uint32_t tail = std::atomic_ref(*cq_tail_).load(std::memory_order_acquire);
    for (std::uint32_t head = *cq_head_; head != tail; ++head) use(cqes_[head & cq_mask_]);
    // Release: the slots are the kernel's again.
    std::atomic_ref(*cq_head_).store(tail, std::memory_order_release);
  }

private:
  failure try_create(unsigned entries, std::uint32_t flags) noexcept {
    setup_params p;
    // Thousands of connections need the larger queue. Older kernels allocate it in one piece, and
    // count it towards RLIMIT_MEMLOCK (before Linux 5.12); the smaller one may still be possible.
    for (const unsigned ratio : {16u, 4u}) {
      p = {};
      p.flags = flags;
      p.cq_entries = entries * ratio;
      fd_ = unique_fd(static_cast<int>(::syscall(SYS_io_uring_setup, entries, &p)));
      if (fd_ || errno != ENOMEM) break;
    }
    if (!fd_) return last_error();
    constexpr std::uint32_t needed =
        single_mmap | nodrop | fast_poll | ext_arg; // all since Linux 5.11
    if ((p.features & needed) != needed) return failure(std::errc::operation_not_supported);
    return map(p) ? failure{} : last_error();
  }

  bool map(const setup_params& p) noexcept {
    const std::size_t sq_end =
        p.sq.array + ((p.flags & no_sqarray) ? 0 : p.sq_entries * sizeof(std::uint32_t));
    const std::size_t cq_end = p.cq.cqes + p.cq_entries * sizeof(completion);
    constexpr off_t sqes_offset = 0x10000000;
    if (!rings_.map(fd_.get(), sq_end > cq_end ? sq_end : cq_end, 0)) return false;
    if (!sqes_.map(fd_.get(), p.sq_entries * sizeof(submission), sqes_offset)) return false;
    sq_head_ = rings_.at<std::uint32_t>(p.sq.head);
    sq_tail_ = rings_.at<std::uint32_t>(p.sq.tail);
    cq_head_ = rings_.at<std::uint32_t>(p.cq.head);
    cq_tail_ = rings_.at<std::uint32_t>(p.cq.tail);
    cqes_ = rings_.at<completion>(p.cq.cqes);
    sq_entries_ = p.sq_entries;
    sq_mask_ = p.sq_entries - 1;
    cq_mask_ = p.cq_entries - 1;
    flags_ = p.flags;
    tail_ = 0;
    registered_ = -1;
    signals_ = false;
    // Without NO_SQARRAY the kernel reads the order of the entries from a table. Here it never
    // changes.
    if (!(flags_ & no_sqarray)) {
      for (std::uint32_t i = 0; i != sq_entries_; ++i) rings_.at<std::uint32_t>(p.sq.array)[i] = i;
    }
    return true;
  }

  // Publishes the new entries. Returns the number of entries that the kernel has not consumed yet.
  // Release: the kernel reads the entries after it has read the tail.
  unsigned publish() noexcept {
    std::atomic_ref(*sq_tail_).store(tail_, std::memory_order_release);
    return tail_ - std::atomic_ref(*sq_head_).load(std::memory_order_acquire);
  }

  // Ignores the result: an error (EINTR, ETIME, EBUSY) may come before or after the kernel has
  // consumed the submissions. The head of the queue tells which.
  void enter(unsigned n, bool wait, clock::time_point until) noexcept {
    if (wait && until != (clock::time_point::max)()) return enter_until(n, until);
    const bool quick = registered_ >= 0;
    ::syscall(SYS_io_uring_enter, quick ? registered_ : fd_.get(), n, wait ? 1u : 0u,
              getevents | (quick ? registered_ring : 0u), nullptr, std::size_t{0});
  }
  ROUSE_NOINLINE void enter_until(unsigned n, clock::time_point until) noexcept {
    const timespec left = time_left(until);
    const kernel_time time{left.tv_sec, left.tv_nsec};
    const wait_argument argument{0, 0, 0, reinterpret_cast<std::uint64_t>(&time)};
    const bool quick = registered_ >= 0;
    ::syscall(SYS_io_uring_enter, quick ? registered_ : fd_.get(), n, 1u,
              getevents | with_ext_arg | (quick ? registered_ring : 0u), &argument,
              sizeof argument);
  }

  unique_fd fd_;
  mapping rings_, sqes_;
  std::uint32_t* sq_head_ = nullptr;
  std::uint32_t* sq_tail_ = nullptr;
  std::uint32_t* cq_head_ = nullptr;
  std::uint32_t* cq_tail_ = nullptr;
  completion* cqes_ = nullptr;
  std::uint32_t sq_entries_ = 0, sq_mask_ = 0, cq_mask_ = 0, flags_ = 0;
  std::uint32_t tail_ = 0;
  int registered_ = -1;
  bool signals_ = false; // an eventfd is registered
};

}}}} // namespace rouse::ROUSE_ABI::os::uring
#endif
