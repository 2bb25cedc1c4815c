// A byte_stream of an application, over a socket: it changes the bytes that pass.
#pragma once
#include <support/testing.hpp>

#include <concepts>
#include <string>
#include <utility>

namespace testing {

/// Flips a bit of each byte, in both directions. With coroutines its calls are tasks.
template <class S>
class flipped {
public:
  using scheduler_type = S;

  flipped() = default;
  explicit flipped(rouse::socket<S> s) : inner_(std::move(s)) {}

  template <class... Rest>
  decltype(auto) recv(rouse::mutable_buffer b, Rest&&... rest) {
    return then_flip(
        b, [this, b](auto&&... how) -> decltype(auto) { return inner_.recv(b, how...); },
        std::forward<Rest>(rest)...);
  }
  template <class... Rest>
  decltype(auto) recv_exactly(rouse::mutable_buffer b, Rest&&... rest) {
    return then_flip(
        b, [this, b](auto&&... how) -> decltype(auto) { return inner_.recv_exactly(b, how...); },
        std::forward<Rest>(rest)...);
  }
  template <class... Rest>
  decltype(auto) receive(Rest&&... rest) {
    return inner_.receive(std::forward<Rest>(rest)...);
  }
  template <class... Rest>
  decltype(auto) send(rouse::const_buffer b, Rest&&... rest) {
    return inner_.send(copy(b), std::forward<Rest>(rest)...);
  }
  template <class... Rest>
  decltype(auto) send_all(rouse::const_buffer b, Rest&&... rest) {
    return inner_.send_all(copy(b), std::forward<Rest>(rest)...);
  }

  void shutdown(rouse::shutdown_how how, std::error_code& ec) { inner_.shutdown(how, ec); }
  void shutdown(rouse::shutdown_how how) { inner_.shutdown(how); }
  void cancel() { inner_.cancel(); }
  void close() { inner_.close(); }
  bool is_open() const { return inner_.is_open(); }
  void timeout(rouse::clock::duration d) { inner_.timeout(d); }
  rouse::clock::duration timeout() const { return inner_.timeout(); }
  S* scheduler() const noexcept { return inner_.scheduler(); }

private:
  static std::size_t flip(rouse::mutable_buffer b, std::size_t n) {
    auto* const bytes = static_cast<char*>(b.data());
    for (std::size_t i = 0; i != n; ++i) bytes[i] = static_cast<char>(bytes[i] ^ 1);
    return n;
  }
  // The copy lives until the next call.
  rouse::const_buffer copy(rouse::const_buffer b) {
    sent_.assign(static_cast<const char*>(b.data()), b.size());
    flip(sent_, sent_.size());
    return sent_;
  }

  // `call(how...)` makes the call. Of what follows the buffer, a limit comes first.
  template <class Call, class... How>
  static decltype(auto) then_flip(rouse::mutable_buffer b, Call call, How&&... how) {
    if constexpr (awaits<S>)
      return flipping_task(b, call, how...);
    else if constexpr (calls_back<S>)
      call(flipping_handler(b, how)...);
    else
      return flip(b, call(how...));
  }
  template <class Call, std::convertible_to<rouse::limit> Limit, class... How>
  static decltype(auto) then_flip(rouse::mutable_buffer b, Call call, Limit&& given, How&&... how) {
    const auto with_limit = [call, l = rouse::limit(given)](auto&&... h) -> decltype(auto) {
      return call(l, h...);
    };
    return then_flip(b, with_limit, how...);
  }
  template <class Call, class... How>
  static rouse::task<std::size_t> flipping_task(rouse::mutable_buffer b, Call call, How&... how) {
    const std::size_t n = co_await call(how...);
    co_return flip(b, n);
  }
  template <class Handler>
  static auto flipping_handler(rouse::mutable_buffer b, Handler given) {
    return [b, h = std::move(given)](std::error_code ec, std::size_t n) mutable {
      std::move(h)(ec, flip(b, n));
    };
  }

  rouse::socket<S> inner_;
  std::string sent_;
};

/// Both ends of a connection as such streams.
template <class S>
struct flipped_pair {
  connected_pair<S> plain;
  S& sched = plain.sched;
  flipped<S> server{std::move(plain.server)}, client{std::move(plain.client)};
};

} // namespace testing
