// The network requests of a TLS connection.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/detail/recycler.hpp>

#include <cstddef>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace tls { namespace detail {

/// A request to the network, which calls `Deliver` of its connection when it has completed later.
template <class Engine, class Call, class Connection, void (Connection::*Deliver)() noexcept>
class request final
    : public rouse::detail::pending_call<Engine, Call, no_limit,
                                         request<Engine, Call, Connection, Deliver>> {
  using call = rouse::detail::pending_call<Engine, Call, no_limit, request>;

public:
  request(Engine* e, Connection& c, Call&& what) noexcept
      : call(e, std::move(what), no_limit{}), connection_(c) {}
  using call::start;
  using call::value;
  [[nodiscard]] failure why() const noexcept { return this->error; }
  /// May destroy the request.
  void deliver() noexcept { (connection_.*Deliver)(); }

  static void* operator new(std::size_t size) { return rouse::detail::recycler::allocate(size); }
  static void operator delete(void* p, std::size_t size) noexcept {
    rouse::detail::recycler::release(p, size);
  }

private:
  Connection& connection_;
};

}}}} // namespace rouse::ROUSE_ABI::tls::detail
