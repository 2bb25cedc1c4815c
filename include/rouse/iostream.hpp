// A std::iostream over a socket. rouse.hpp does not include it, because <istream> takes long to
// compile.
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

template <class Stream>
class socket_streambuf final : public std::streambuf {
public:
  explicit socket_streambuf(Stream&& s) noexcept : socket_(std::move(s)) {
    setp(out_.data(), out_.data() + out_.size());
  }

  [[nodiscard]] Stream& connection() noexcept { return socket_; }
  [[nodiscard]] std::error_code error() const noexcept { return error_; }

protected:
  int_type underflow() override {
    flush(); // the peer may wait for the output
    const std::size_t n = socket_.recv(mutable_buffer(in_), error_);
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
  // Bytes that could not be sent stay in the buffer for the next flush.
  void flush() {
    const auto size = static_cast<std::size_t>(pptr() - pbase());
    if (size == 0) return;
    const std::size_t n = socket_.send_all(const_buffer(pbase(), size), error_);
    std::memmove(pbase(), pbase() + n, size - n);
    pbump(-static_cast<int>(n));
    report();
  }
  // The stream catches the exception and sets badbit. Returning eof would set eofbit instead.
  void report() const {
#if ROUSE_EXCEPTIONS
    if (error_) throw_error(error_, "rouse: socket_stream");
#endif
  }

  Stream socket_;
  std::error_code error_;
  std::array<char, 4096> in_, out_;
};

} // namespace detail

/// A std::iostream over a connected socket, for lines, numbers, and everything else that operator<<
/// and operator>> know. The socket's scheduler is `fibers`, `threads`, or one with a parker of the
/// application. The socket may be a TLS socket, or another `byte_stream`.
///
///     rouse::socket_stream io{std::move(conn)};
///     for (std::string line; std::getline(io, line);) io << "you said " << line << std::endl;
///
/// The stream owns the socket. Its destructor sends the buffered output, then closes the socket.
/// (Python's makefile shares the socket.) Output is sent by `flush`, by `std::endl`, when the
/// buffer (4 KiB) is full, and before a read that has to receive.
///
/// The end of the peer's stream sets eofbit. An error sets badbit (a `timeout()` of `connection()`
/// that passes is an error as well), and `error()` returns it. With `exceptions(std::ios::badbit)`
/// the stream throws the error as std::system_error. No byte is lost: after `clear()` the stream
/// continues where it stopped.
///
/// Threads: those of the socket, one at a time. Cost: two buffers of 4 KiB inside the object, and
/// the allocation for the locale that every std::ios makes. A stream can be neither copied nor
/// moved.
///
/// @tparam Stream  a `byte_stream`. A scheduler stands for its socket.
template <class Stream>
class socket_stream : public std::iostream {
public:
  using stream_type = typename detail::stream_of<Stream>::type;

  static_assert(detail::returns_directly<stream_type>,
                "rouse: a socket_stream waits inside operator>> and operator<<, which coroutines "
                "and callbacks cannot: use fibers or threads, or a rouse::reader");

  explicit socket_stream(stream_type&& s) : std::iostream(nullptr), buffer_(std::move(s)) {
    rdbuf(&buffer_);
  }
  /// Sends the buffered output. An error is ignored: call `flush()` or `close()` first to see it.
  ~socket_stream() override { send_rest(); }

  /// Sends the buffered output, then closes the socket. Sets badbit if the output was not sent.
  void close() {
    flush();
    connection().close();
  }

  /// The error of the stream's last call on the socket, empty if that call succeeded.
  [[nodiscard]] std::error_code error() const noexcept { return buffer_.error(); }
  /// The socket, for its options, endpoints and `timeout()`. Its `recv` does not return bytes that
  /// the stream has already read into its buffer.
  [[nodiscard]] stream_type& connection() noexcept { return buffer_.connection(); }

private:
  void send_rest() noexcept {
    if (!connection().is_open()) return;
    detail::guarded([&] { buffer_.pubsync(); }, [] {});
  }

  detail::socket_streambuf<stream_type> buffer_;
};

template <class Scheduler>
socket_stream(socket<Scheduler>&&) -> socket_stream<Scheduler>;
template <byte_stream Stream>
socket_stream(Stream&&) -> socket_stream<Stream>;

}} // namespace rouse::ROUSE_ABI
