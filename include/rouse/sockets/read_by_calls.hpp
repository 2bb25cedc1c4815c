// The reader's calls on a stream of the application: made of the stream's own calls, in the way of
// its scheduler.
//
//     calls return their value       a loop
//     calls are awaited              a task with a loop
//     calls take a handler           a handler that makes the next call
#pragma once
#include <rouse/concepts/byte_stream.hpp>
#include <rouse/concepts/waker.hpp>
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/call_arguments.hpp>
#include <rouse/core/coroutine.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/fwd.hpp>
#include <rouse/sockets/read_buffer.hpp>

#include <concepts>
#include <cstddef>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

// A piece that is being read, with the error of the last call.
struct reading : wanted_piece {
  std::error_code why;

  // True: bytes have to be received into `room`.
  bool begin_call() noexcept { return !fails(begin()) && !complete() && makes_room(); }
  // The same after each receipt.
  bool add(std::size_t n) noexcept {
    buffer().add(n);
    if (why || complete()) return false;
    if (n != 0) return makes_room();
    be_the_rest();
    return false;
  }
  mutable_buffer room() noexcept { return buffer().room(); }

  // The value. An error is stored in `ec`, or thrown if `ec` is null.
  std::string_view take(std::error_code* ec) {
    if (ec)
      *ec = why;
    else if (why)
      throw_error(why, "rouse: read");
    return value();
  }

private:
  bool fails(failure f) noexcept {
    why = f.code();
    return static_cast<bool>(f);
  }
  bool makes_room() noexcept { return !fails(buffer().make_room()); }
};

template <class Stream, class How>
decltype(auto) recv_of(Stream& s, mutable_buffer b, const no_limit&, How&& how) {
  return s.recv(b, std::forward<How>(how));
}
template <class Stream, class How>
decltype(auto) recv_of(Stream& s, mutable_buffer b, const limit& l, How&& how) {
  return s.recv(b, l, std::forward<How>(how));
}

template <class Stream, class Limit>
std::string_view read_directly(Stream& s, reading r, const Limit& l, std::error_code* ec) {
  bool more = r.begin_call();
  while (more) more = r.add(recv_of(s, r.room(), l, r.why));
  return r.take(ec);
}

// `View` is std::string_view. (As a parameter, it lets `task` be complete only where this is used.
// The stream is a void* because g++ warns about frames that refer to types of unnamed namespaces.)
template <class View, class Stream, class Limit>
task<View> read_in_task(void* stream, reading r, Limit l, std::error_code* ec) {
  bool more = r.begin_call();
  while (more) {
    const std::size_t n = co_await recv_of(*static_cast<Stream*>(stream), r.room(), l, r.why);
    more = r.add(n);
  }
  co_return r.take(ec);
}

template <class Stream, class Limit, class Handler>
class read_handler {
public:
  template <class H>
  read_handler(Stream& s, const reading& r, const Limit& l, H&& handler)
      : stream_(&s), reading_(r), limit_(l), handler_(std::forward<H>(handler)) {}

  // The handler is called by the loop, even if the piece is there.
  void begin() {
    if (reading_.begin_call()) return receive();
    auto* const home = stream_->scheduler();
    if (!home) return finish();
    home->post([self = std::move(*this)]() mutable { self.finish(); });
  }
  void operator()(std::error_code ec, std::size_t n) {
    reading_.why = ec;
    if (reading_.add(n)) return receive();
    finish();
  }

private:
  void receive() {
    Stream& s = *stream_;
    const mutable_buffer room = reading_.room();
    const Limit l = limit_;
    recv_of(s, room, l, std::move(*this));
  }
  void finish() { std::move(handler_)(reading_.why, reading_.value()); }

  Stream* stream_;
  reading reading_;
  Limit limit_;
  Handler handler_;
};

// Stands for the scheduler in `begin_call`.
template <class Stream>
struct read_by_calls {
  Stream& stream;

  template <class Limit, class... How>
  static decltype(auto) initiate(read_by_calls* self, wanted_piece&& wanted, const Limit& l,
                                 How&&... how) {
    if constexpr (std::same_as<Limit, time_limit>)
      return self->read({std::move(wanted), {}}, limit(l.when(), l.at()),
                        std::forward<How>(how)...);
    else
      return self->read({std::move(wanted), {}}, l, std::forward<How>(how)...);
  }

private:
  using scheduler_type = typename Stream::scheduler_type;
  template <class Limit>
  using awaited = decltype(recv_of(std::declval<Stream&>(), std::declval<mutable_buffer>(),
                                   std::declval<const Limit&>(), std::declval<std::error_code&>()));

  template <class Limit, class... How>
  decltype(auto) read(const reading& r, const Limit& l, How&&... how) {
    if constexpr (returns_directly<Stream>)
      return read_directly(stream, r, l, error_of(std::forward<How>(how)...));
    else if constexpr (std::same_as<completes<Stream>, std::error_code&>)
      return read_awaiting(r, l, error_of(std::forward<How>(how)...));
    else
      read_handling(r, l, std::forward<How>(how)...);
  }

  template <class Limit>
  auto read_awaiting(const reading& r, const Limit& l, std::error_code* ec) {
    static_assert(awaitable<awaited<Limit>>,
                  "rouse: the calls of this stream neither return their value, nor are they "
                  "awaited, nor do they take a handler: a reader can read from a rouse::socket or "
                  "a rouse::tls::socket of its scheduler, but not from this stream");
    return read_in_task<std::string_view, Stream>(&stream, r, l, ec);
  }

  template <class Limit, class... How>
  void read_handling(const reading& r, const Limit& l, How&&... how) {
    constexpr bool handled = scheduler_type::template accepts<std::string_view, How...>;
    static_assert(handled || misplaced<How...>,
                  "rouse: a call of callbacks ends with its handler, void(std::error_code, T)");
    if constexpr (handled)
      (read_handler<Stream, Limit, std::decay_t<How>>(stream, r, l, std::forward<How>(how)).begin(),
       ...);
  }
};

}}} // namespace rouse::ROUSE_ABI::detail
