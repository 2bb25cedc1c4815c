// io_uring: the raw kernel interface, as much of it as the engine uses.
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
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace os { namespace uring {

// The kernel's structures and numbers, spelled out: the headers of an older distribution lack what
// a newer kernel has. Source: io_uring_setup(2), io_uring_enter(2), linux/io_uring.h.
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
struct buffer_entry {
  std::uint64_t addr;
  std::uint32_t len;
  std::uint16_t id, tail; // tail: that of the whole ring, in its first entry alone
};
static_assert(sizeof(buffer_entry) == 16);
struct buffer_ring_registration {
  std::uint64_t ring_addr;
  std::uint32_t ring_entries;
  std::uint16_t group, flags;
  std::uint64_t resv[3];
};
static_assert(sizeof(buffer_ring_registration) == 40);

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
  enable_rings = 12,
  register_ring_fds = 20,
  register_buffer_ring = 22
};
/// Of a submission: the kernel takes a buffer of group `buf_index` once it has bytes.
inline constexpr std::uint8_t select_buffer = 1u << 5;
/// Of a poll's `len`: it goes on after its first answer (since Linux 5.13).
inline constexpr std::uint32_t poll_multishot = 1u;
/// Of a completion's flags: whether further ones of its request will follow.
inline bool follows_more(std::uint32_t flags) noexcept { return (flags & 2u) != 0; }
/// Of a completion's flags: which buffer it took, if it took one.
inline bool took_buffer(std::uint32_t flags) noexcept { return (flags & 1u) != 0; }
inline std::uint16_t buffer_id(std::uint32_t flags) noexcept {
  return static_cast<std::uint16_t>(flags >> 16);
}

/// The events of poll(2) as a submission has them: big-endian machines swap the halves.
constexpr std::uint32_t poll_events(short events) noexcept {
  const auto mask = static_cast<std::uint16_t>(events);
  return std::endian::native == std::endian::little ? mask : std::uint32_t{mask} << 16;
}

/// Whether a send that must wait may send an empty datagram instead: a local one has taken its
/// bytes already when it finds its peer's queue full, and the kernel (6.18) tries again without
/// them.
inline bool loses_datagrams(int family, int type) noexcept {
  return family == AF_UNIX && type != SOCK_STREAM;
}

/// Whether an answer says that the operation was ended before it did anything.
inline bool was_cut_off(int error) noexcept {
  return error == EINTR || error == EAGAIN || error == ECANCELED;
}

/// Whether a cancel's answer says that there was nothing to cancel.
inline bool found_nothing(int error) noexcept { return error == ENOENT; }

/// Whether an answer says that no buffer was left to take.
inline bool lacked_buffer(int error) noexcept { return error == ENOBUFS; }

/// A mapping, unmapped with its owner.
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

/// The buffers that a ring's kernel side may take for what it receives, one group of them. Linux
/// 5.19.
class buffer_ring {
public:
  static constexpr std::uint16_t entries = 32; // a power of two

  /// Makes it known to the ring `fd`; once more where that has become another one.
  failure create(int fd) noexcept {
    if (!entries_.mapped() && !entries_.map(-1, entries * sizeof(buffer_entry), 0))
      return last_error();
    buffer_ring_registration r{};
    r.ring_addr = reinterpret_cast<std::uintptr_t>(entries_.at<buffer_entry>(0));
    r.ring_entries = entries;
    return outcome(
        static_cast<int>(::syscall(SYS_io_uring_register, fd, register_buffer_ring, &r, 1)));
  }

  /// Lends the kernel a buffer; `id` comes back with the completion that used it.
  void offer(std::uint16_t id, void* bytes, std::size_t size) noexcept {
    buffer_entry* all = entries_.at<buffer_entry>(0);
    buffer_entry& e = all[tail_ % entries];
    e.addr = reinterpret_cast<std::uintptr_t>(bytes);
    e.len = static_cast<std::uint32_t>(size);
    e.id = id;
    // Release: the kernel reads the entry after it has read the tail.
    std::atomic_ref(all->tail).store(++tail_, std::memory_order_release);
  }

private:
  mapping entries_;
  std::uint16_t tail_ = 0;
};

/// One ring: submissions go in, completions come out.
class ring {
public:
  /// With as many of the `wanted` flags as the kernel knows.
  /// @param forbidden  flags to be treated as if this kernel did not know them.
  failure create(unsigned entries, std::uint32_t wanted, std::uint32_t forbidden = 0) noexcept {
    failure f;
    // What a kernel does not know it refuses with EINVAL: leave out the newest first. DEFER_TASKRUN
    // needs SINGLE_ISSUER; without it COOP_TASKRUN is next best.
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

  /// By the thread that will run the ring: starts it. One that is bound to its thread gets a
  /// quicker name.
  void enable() noexcept {
    if (flags_ & disabled) ::syscall(SYS_io_uring_register, fd_.get(), enable_rings, nullptr, 0);
    if (!(flags_ & single_issuer)) return;
    fd_update u{~0u, 0, static_cast<std::uint64_t>(fd_.get())};
    if (::syscall(SYS_io_uring_register, fd_.get(), register_ring_fds, &u, 1) == 1)
      registered_ = static_cast<int>(u.offset);
  }

  /// Takes what `old` has not submitted yet.
  void take_over(ring& old) noexcept {
    for (unsigned n = old.publish(); n != 0; --n)
      next() = old.sqes_.at<submission>(0)[(old.tail_ - n) & old.sq_mask_];
  }

  /// Whether there is no room for one more submission (enter, then ask again).
  [[nodiscard]] bool full() const noexcept {
    // Acquire: partner of the kernel's release when it has consumed an entry.
    return tail_ - std::atomic_ref(*sq_head_).load(std::memory_order_acquire) == sq_entries_;
  }
  /// Where there is room: one more submission, cleared.
  [[nodiscard]] submission& next() noexcept {
    submission* s = sqes_.at<submission>(0) + (tail_++ & sq_mask_);
    std::memset(s, 0, sizeof *s);
    return *s;
  }

  /// Hands over what is new, and takes the answers that wait for their thread.
  void submit() noexcept { enter(publish(), false, (clock::time_point::min)()); }
  /// The same, then waits for an answer until `until` (max: for ever).
  void submit_and_wait(clock::time_point until) noexcept { enter(publish(), true, until); }
  /// Only waits. Other threads may submit meanwhile.
  void wait(clock::time_point until) noexcept { enter(0, true, until); }

  /// How many answers wait to be drained.
  [[nodiscard]] std::uint32_t completed() const noexcept {
    return std::atomic_ref(*cq_tail_).load(std::memory_order_acquire) - *cq_head_;
  }

  /// Deferred task work is done in portions of 20 a call: fetches the rest, as long as they come
  /// full. Returns how many answers there are now.
  std::uint32_t fetch_rest() noexcept {
    constexpr std::uint32_t portion = 20;
    std::uint32_t has = completed();
    for (std::uint32_t had = 0; has - had >= portion; has = completed()) {
      had = has;
      enter(0, false, (clock::time_point::min)());
    }
    return has;
  }

  /// Calls `use(completion)` for each that is there. It may submit.
  template <class F>
  ROUSE_ALWAYS_INLINE void drain(F&& use) noexcept {
    // Acquire: what the kernel wrote into the buffers happens-before whatever `use` leads to (O3).
    const std::uint32_t tail = std::atomic_ref(*cq_tail_).load(std::memory_order_acquire);
    for (std::uint32_t head = *cq_head_; head != tail; ++head) use(cqes_[head & cq_mask_]);
    // Release: the slots are the kernel's again.
    std::atomic_ref(*cq_head_).store(tail, std::memory_order_release);
  }

private:
  failure try_create(unsigned entries, std::uint32_t flags) noexcept {
    setup_params p{};
    p.flags = flags;
    p.cq_entries = entries * 4;
    fd_ = unique_fd(static_cast<int>(::syscall(SYS_io_uring_setup, entries, &p)));
    if (!fd_) return last_error();
    constexpr std::uint32_t needed =
        single_mmap | nodrop | fast_poll | ext_arg; // all there since Linux 5.11
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
    // Entries are used in order: without NO_SQARRAY the kernel wants to read that from a table.
    if (!(flags_ & no_sqarray)) {
      for (std::uint32_t i = 0; i != sq_entries_; ++i) rings_.at<std::uint32_t>(p.sq.array)[i] = i;
    }
    return true;
  }

  // How many entries the kernel has not taken yet. Release: it reads them after it has read the
  // tail.
  unsigned publish() noexcept {
    std::atomic_ref(*sq_tail_).store(tail_, std::memory_order_release);
    return tail_ - std::atomic_ref(*sq_head_).load(std::memory_order_acquire);
  }

  // An error (EINTR, ETIME, EBUSY) may come after the submissions were taken, or before: the head
  // of the queue tells, so the result is of no use.
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
};

}}}} // namespace rouse::ROUSE_ABI::os::uring
#endif
