// A std::iostream over a socket. Not a part of rouse.hpp: <istream> is dear to compile.
#pragma once
#include <rouse/detail/guarded.hpp>
#include <rouse/rouse.hpp>

#include <array>
#include <cstddef>
#include <cstring>
#include <istream>
#include <streambuf>
#include <system_error>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

template <class Scheduler>
class socket_streambuf final : public std::streambuf {
public:
  explicit socket_streambuf(socket<Scheduler>&& s) noexcept : socket_(std::move(s)) {
    setp(out_.data(), out_.data() + out_.size());
  }

  [[nodiscard]] socket<Scheduler>& connection() noexcept { return socket_; }
  [[nodiscard]] std::error_code error() const noexcept { return error_; }

protected:
  int_type underflow() override {
    flush(); // the peer may be waiting for it
    const std::size_t n = socket_.recv(in_, error_);
    report();
    setg(in_.data(), in_.data(), in_.data() + n);
    return n == 0 ? traits_type::eof() : traits_type::to_int_type(in_[0]);
  }
  int_type overflow(int_type c) override {
    flush();
    if (pptr() == epptr()) return traits_type::eof();
    if (traits_type::eq_int_type(c, traits_type::eof())) return traits_type::not_eof(c);
    return sputc(traits_type::to_char_type(c));
  }
  int sync() override {
    flush();
    return pptr() == pbase() ? 0 : -1;
  }

private:
  // What could not be sent stays, to be sent by the next flush.
  void flush() {
    const auto size = static_cast<std::size_t>(pptr() - pbase());
    if (size == 0) return;
    const std::size_t n = socket_.send_all({pbase(), size}, error_);
    std::memmove(pbase(), pbase() + n, size - n);
    pbump(-static_cast<int>(n));
    report();
  }
  // The stream catches it, and has its badbit set; an end would be eofbit.
  void report() const {
#if ROUSE_EXCEPTIONS
    if (error_) throw_error(error_, "rouse: socket_stream");
#endif
  }

  socket<Scheduler> socket_;
  std::error_code error_;
  std::array<char, 4096> in_, out_;
};

} // namespace detail

/// A std::iostream over a connected socket of `fibers`, `threads`, or a parker of one's own: lines,
/// numbers, whatever operator<< and >> know.
///
///     rouse::socket_stream io{std::move(conn)};
///     for (std::string line; std::getline(io, line);) io << "you said " << line << std::endl;
///
/// It owns the socket, which closes with it, once what was written is sent. (Python's makefile
/// shares it.) Output is sent by `flush`, `std::endl`, a full buffer (4 KiB), and before a read
/// that has to receive.
///
/// The end of the peer's stream sets eofbit. An error (a `timeout()` of `connection()`, too) sets
/// badbit, and `error()` says which; with `exceptions(std::ios::badbit)` the stream throws it, a
/// std::system_error. No byte is lost: after `clear()` the stream goes on where it was.
///
/// Threads: as the socket's; one at a time. Cost: two buffers of 4 KiB, inside; an allocation for
/// the locale, which every std::ios has. Can be neither copied nor moved.
template <class Scheduler>
class socket_stream : public std::iostream {
  static_assert(detail::blocking_waker<typename Scheduler::waker_type>,
                "rouse: a socket_stream waits inside operator>> and operator<<, which coroutines "
                "and callbacks cannot: use fibers or threads, or a rouse::reader");

public:
  explicit socket_stream(socket<Scheduler>&& s) : std::iostream(nullptr), buffer_(std::move(s)) {
    rdbuf(&buffer_);
  }
  /// Sends what was written; an error is not heard of: `flush()` or `close()` first to know.
  ~socket_stream() override { send_rest(); }

  /// Sends what was written, then closes; badbit where it could not be sent.
  void close() {
    flush();
    connection().close();
  }

  /// The last error; none if there was none since the last call that worked.
  [[nodiscard]] std::error_code error() const noexcept { return buffer_.error(); }
  /// For its options, endpoints, its timeout(). Its recv does not see what the stream has read.
  [[nodiscard]] socket<Scheduler>& connection() noexcept { return buffer_.connection(); }

private:
  void send_rest() noexcept {
    if (!connection().is_open()) return;
    detail::guarded([&] { buffer_.pubsync(); }, [] {});
  }

  detail::socket_streambuf<Scheduler> buffer_;
};

}} // namespace rouse::ROUSE_ABI
