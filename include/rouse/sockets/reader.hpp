// A buffered reader: lines, delimited pieces and exact numbers of bytes of a stream.
#pragma once
#include <rouse/concepts/byte_stream.hpp>
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/fwd.hpp>
#include <rouse/sockets/read_buffer.hpp>
#include <rouse/sockets/read_by_calls.hpp>
#include <rouse/sockets/socket.hpp>
#include <rouse/sockets/stream_access.hpp>

#include <cstddef>
#include <string_view>
#include <system_error>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

// Reads a piece from a stream that describes its calls: see stream_access.
template <class Receiver>
struct read_call {
  using value_type = std::string_view;
  static constexpr const char* name = "rouse: read";
  static constexpr const char* misuse = "no bytes are requested";
  Receiver from;
  wanted_piece wanted;

  bool prepare(operation& op) noexcept {
    if (const failure refused = wanted.begin()) {
      op.error = refused;
      return false;
    }
    return !wanted.complete() && fetch(op);
  }

  bool advance(operation& op) noexcept {
    if (!from.advance(op)) return false;
    wanted.buffer().add(op.bytes);
    if (op.error || wanted.complete()) return true;
    if (op.bytes != 0) return !fetch(op);
    wanted.be_the_rest();
    return true;
  }

  std::string_view value(operation&) noexcept { return wanted.value(); }

  template <class Engine>
  void discard(operation& op, Engine& engine) noexcept
    requires requires { from.discard(op, engine); }
  {
    from.discard(op, engine);
  }

private:
  // False: no room; `op.error` says why.
  bool fetch(operation& op) noexcept {
    op.error = wanted.buffer().make_room();
    return !op.error && from.begin(op, wanted.buffer().room());
  }
};

} // namespace detail

/// Reads a stream in pieces: lines, up to a delimiter, or a number of bytes.
///
///     rouse::reader in{conn};
///     while (!(line = co_await in.read_line()).empty()) ...
///
/// A call returns a view into the reader, valid until its next call. No byte is lost: bytes that
/// came before an error, a limit or a cancel, or beyond what a call returns, are there for the next
/// call. (`buffered()` shows them; the stream's own `recv` does not return them.)
///
/// Borrows the stream, which must not be moved. One call at a time. Threads: the scheduler's own.
/// Cost: that of `recv`; the memory grows with the longest piece, by doubling.
///
/// A stream of the application is read by calls of its `recv`, so each of them resumes the reader,
/// a limit covers them all, and the stream's `timeout()` applies to each. With coroutines the
/// reader's calls are then tasks; with callbacks each of them keeps a copy of the handler with
/// `recv`'s. A stream with calls of another kind is refused at compile time.
///
/// @tparam Stream  a `byte_stream`: a socket, a TLS socket, one of the application. A scheduler
/// stands for its socket, and is what `reader in{conn}` names for a socket: `reader<fibers>`.
template <class Stream>
class reader {
  using call_site = detail::call_site;
  using location = detail::location;
  using nothing = detail::nothing;

public:
  using stream_type = typename detail::stream_of<Stream>::type;

  /// @param most  the maximum size of a piece, in bytes. A longer one is message_size, and stays.
  explicit reader(stream_type& s, std::size_t most = std::size_t{1} << 20) noexcept
      : stream_(&s), buffer_(most) {
    if constexpr (!detail::describes_calls<stream_type>) explain_byte_stream<stream_type>();
  }
  reader(const reader&) = delete;
  reader& operator=(const reader&) = delete;

  /// Reads up to and including `delimiter`, which is borrowed until the call has completed. The
  /// returned piece lacks the delimiter only at the end of the stream: then it is the rest, and
  /// empty from then on.
  ///
  /// Errors: those of `recv`; message_size (no delimiter in `most` bytes), not_enough_memory.
  template <class...>
  decltype(auto) read_until(std::string_view delimiter, location at = location::current()) {
    return start(delimiter, 0, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) read_until(std::string_view delimiter, First&& first, How&& how = How(),
                            call_site at = location::current()) {
    return start(delimiter, 0, at, std::forward<First>(first), std::forward<How>(how));
  }

  /// Reads a line, including its "\n". Otherwise like `read_until`.
  template <class...>
  decltype(auto) read_line(location at = location::current()) {
    return start("\n", 0, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) read_line(First&& first, How&& how = How(), call_site at = location::current()) {
    return start("\n", 0, at, std::forward<First>(first), std::forward<How>(how));
  }

  /// Reads `n` bytes; fewer only at the end of the stream. Otherwise like `read_until`;
  /// invalid_argument if `n` is 0.
  template <class...>
  decltype(auto) read_exactly(std::size_t n, location at = location::current()) {
    return start({}, n, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) read_exactly(std::size_t n, First&& first, How&& how = How(),
                              call_site at = location::current()) {
    return start({}, n, at, std::forward<First>(first), std::forward<How>(how));
  }

  /// The bytes that the last call returned, and after them those that no call has returned yet.
  [[nodiscard]] std::string_view buffered() const noexcept { return buffer_.bytes(); }

private:
  template <class... Rest>
  decltype(auto) start(std::string_view delimiter, std::size_t n, const location& at,
                       Rest&&... rest) {
    detail::wanted_piece wanted(buffer_, delimiter, n);
    if constexpr (detail::describes_calls<stream_type>) {
      auto from = detail::stream_access<stream_type>::receiver(*stream_);
      return detail::begin_call(stream_->scheduler(),
                                detail::read_call<decltype(from)>{std::move(from), wanted}, at,
                                std::forward<Rest>(rest)...);
    } else {
      detail::read_by_calls<stream_type> calls{*stream_};
      return detail::begin_call(&calls, std::move(wanted), at, std::forward<Rest>(rest)...);
    }
  }

  stream_type* stream_;
  detail::read_buffer buffer_;
};

template <class Scheduler>
reader(socket<Scheduler>&, std::size_t = 0) -> reader<Scheduler>;
template <class Stream>
reader(Stream&, std::size_t = 0) -> reader<Stream>;

}} // namespace rouse::ROUSE_ABI
