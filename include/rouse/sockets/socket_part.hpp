// What the parts of `socket` have in common: each is a base class with some of its calls.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>

#include <utility>

namespace rouse::inline ROUSE_ABI::detail {

/// What a part needs of the socket.
///
/// @tparam Part  the part itself: no two of them have the same base, and so none takes room.
template <class Part, class Socket>
class socket_part {
protected:
  socket_part() noexcept = default;
  socket_part(socket_part&&) noexcept = default;
  socket_part& operator=(socket_part&&) noexcept = default;
  ~socket_part() = default;

  [[nodiscard]] descriptor* record() noexcept { return self().record_; }
  [[nodiscard]] auto& engine() noexcept { return self().scheduler()->engine(); }
  template <class F>
  failure on_handle(F&& f) noexcept {
    return self().on_handle(std::forward<F>(f));
  }
  static void check(failure why, const char* what) { Socket::check(why, what); }
  template <class Call, class Limit, class... How>
  decltype(auto) begin(Call call, Limit l, How&&... how) {
    return self().begin(std::move(call), std::move(l), std::forward<How>(how)...);
  }

private:
  Socket& self() noexcept { return static_cast<Socket&>(*this); }
};

} // namespace rouse::inline ROUSE_ABI::detail
