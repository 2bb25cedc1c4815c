// The ciphertext between an SSL object and the network: a BIO that reads what was received and
// keeps what is to be sent. It never waits.
//
//   engine --receive--> loan --read--> SSL --write--> to_send --swap--> in_flight --> engine
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/loan.hpp>
#include <rouse/detail/guarded.hpp>
#include <rouse/detail/immortal.hpp>
#include <rouse/detail/recycler.hpp>

#include <openssl/bio.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace tls { namespace detail {

/// Bytes that are appended at the end and sent as a whole. Its memory is taken from the thread's
/// recycler and returned by `clear`.
class ciphertext {
public:
  ciphertext() noexcept = default;
  ciphertext(const ciphertext&) = delete;
  ciphertext& operator=(const ciphertext&) = delete;
  ~ciphertext() { clear(); }

  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] const_buffer bytes() const noexcept { return {data_, size_}; }

  /// False: memory is short.
  bool append(const char* data, std::size_t size) noexcept {
    if (size > capacity_ - size_ && !reserve(size)) return false;
    std::memcpy(data_ + size_, data, size);
    size_ += size;
    return true;
  }
  /// Makes room for `size` further bytes. False: memory is short.
  bool reserve(std::size_t size) noexcept {
    if (size <= capacity_ - size_) return true;
    const std::size_t larger = capacity_for(size_ + size);
    auto* const data = static_cast<std::byte*>(
        rouse::detail::guarded([&] { return rouse::detail::recycler::allocate(larger); },
                               [] { return static_cast<void*>(nullptr); }));
    if (!data) return false;
    if (size_ != 0) std::memcpy(data, data_, size_);
    release();
    data_ = data;
    capacity_ = larger;
    return true;
  }
  void clear() noexcept {
    release();
    data_ = nullptr;
    size_ = capacity_ = 0;
  }
  void swap(ciphertext& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

private:
  static constexpr std::size_t smallest = 504, largest_single = (std::size_t{32} << 10) - 8;

  // Four times as much each time, up to 32 KiB for a record, then twice: 64 KiB, the most that the
  // recycler keeps, for four of them. Less what the recycler needs for itself.
  static std::size_t capacity_for(std::size_t size) noexcept {
    std::size_t capacity = smallest;
    while (capacity < size) capacity = (capacity + 8) * (capacity < largest_single ? 4 : 2) - 8;
    return capacity;
  }
  void release() noexcept {
    if (data_) rouse::detail::recycler::release(data_, capacity_);
  }

  std::byte* data_ = nullptr;
  std::size_t size_ = 0, capacity_ = 0;
};

/// Both directions of one SSL object, which reads and writes it through a BIO.
class wire {
public:
  wire() noexcept = default;
  wire(const wire&) = delete;
  wire& operator=(const wire&) = delete;

  /// A BIO over this object, which must live as long; null when memory is short.
  [[nodiscard]] BIO* make_bio() noexcept {
    const BIO_METHOD* how = method();
    BIO* b = how ? BIO_new(how) : nullptr;
    if (b) BIO_set_data(b, this);
    return b;
  }

  /// What was received. The bytes before it must have been read.
  void put(loan received) noexcept {
    received_ = std::move(received);
    read_ = 0;
  }
  [[nodiscard]] bool unread() const noexcept { return read_ != received_.size(); }

  /// Sends bytes without waiting, and returns how many; nothing may wait in `to_send` then.
  using send_now = std::size_t(void* by, const_buffer) noexcept;
  /// While it is set, what is written first is handed to it, without the copy into `to_send`.
  send_now* direct = nullptr;
  void* by = nullptr; ///< the argument of `direct`

  ciphertext to_send;
  std::uint64_t produced = 0; ///< bytes that the SSL object has written so far
  bool memory_short = false; ///< some of them are lost

private:
  struct made_method {
    BIO_METHOD* how = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "rouse");
    made_method() noexcept {
      if (!how) return;
      BIO_meth_set_create(how, [](BIO* b) {
        BIO_set_init(b, 1);
        return 1;
      });
      BIO_meth_set_read_ex(how, &wire::read);
      BIO_meth_set_write_ex(how, &wire::write);
      BIO_meth_set_ctrl(how, [](BIO*, int what, long, void*) -> long {
        return what == BIO_CTRL_FLUSH || what == BIO_CTRL_DUP;
      });
    }
  };
  static const BIO_METHOD* method() noexcept { return rouse::detail::immortal<made_method>().how; }
  static wire& of(BIO* b) noexcept { return *static_cast<wire*>(BIO_get_data(b)); }

  static int read(BIO* b, char* into, std::size_t size, std::size_t* moved) noexcept {
    wire& self = of(b);
    BIO_clear_retry_flags(b);
    const std::size_t left = self.received_.size() - self.read_;
    if (left == 0) {
      BIO_set_retry_read(b); // also at the end of the stream, which SSL objects need not know
      return 0;
    }
    *moved = size < left ? size : left;
    std::memcpy(into, self.received_.data() + self.read_, *moved);
    self.read_ += *moved;
    if (!self.unread()) self.put({});
    return 1;
  }
  static int write(BIO* b, const char* data, std::size_t size, std::size_t* moved) noexcept {
    wire& self = of(b);
    BIO_clear_retry_flags(b);
    std::size_t sent = 0;
    if (self.direct && self.to_send.empty()) sent = self.direct(self.by, {data, size});
    if (sent != size && !self.to_send.append(data + sent, size - sent)) {
      self.memory_short = true;
      return 0;
    }
    self.produced += size;
    *moved = size;
    return 1;
  }

  loan received_;
  std::size_t read_ = 0; // bytes of it
};

}}}} // namespace rouse::ROUSE_ABI::tls::detail
