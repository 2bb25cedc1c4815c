// A socket's options and addresses: calls that never wait.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/socket.hpp>
#include <rouse/sockets/options.hpp>
#include <rouse/sockets/socket_part.hpp>

#include <concepts>
#include <cstddef>
#include <system_error>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// A part of `socket`: its options and addresses.
template <class Socket>
class option_calls : public socket_part<option_calls<Socket>, Socket> {
public:
  /// The address that the socket is bound to. Errors: bad_file_descriptor. Source: getsockname(2).
  [[nodiscard]] endpoint local_endpoint() const {
    return query(&Socket::sockets::local_endpoint, "rouse: local_endpoint");
  }
  [[nodiscard]] endpoint local_endpoint(std::error_code& ec) const noexcept {
    return query(&Socket::sockets::local_endpoint, ec);
  }
  /// The address that the socket is connected to. Errors: not_connected, bad_file_descriptor.
  /// Source: getpeername(2).
  [[nodiscard]] endpoint remote_endpoint() const {
    return query(&Socket::sockets::remote_endpoint, "rouse: remote_endpoint");
  }
  [[nodiscard]] endpoint remote_endpoint(std::error_code& ec) const noexcept {
    return query(&Socket::sockets::remote_endpoint, ec);
  }

  /// Sets an option by its type (`tcp_no_delay{true}`), or by level, name and value.
  ///
  /// Errors: no_protocol_option, invalid_argument. Source: setsockopt(2).
  template <class O>
  void set_option(const O& option) {
    explain_option<O>();
    this->check(do_set(O::level, O::name, option.data(), option.size()), "rouse: set_option");
  }
  template <class O>
  void set_option(const O& option, std::error_code& ec) noexcept {
    explain_option<O>();
    ec = do_set(O::level, O::name, option.data(), option.size()).code();
  }
  template <class T>
  void set_option(int level, int name, const T& value) {
    explain_raw_option<T>();
    this->check(do_set(level, name, &value, sizeof value), "rouse: set_option");
  }
  template <class T>
  void set_option(int level, int name, const T& value, std::error_code& ec) noexcept {
    explain_raw_option<T>();
    ec = do_set(level, name, &value, sizeof value).code();
  }

  template <class V>
    requires(!std::same_as<V, std::error_code>)
  void set_option(int, const V&) {
    explain_option_without_level<V>();
  }

  /// Returns an option by its type (`get_option<tcp_no_delay>()`), or by level and name.
  ///
  /// Errors: no_protocol_option. Source: getsockopt(2).
  template <class O>
  [[nodiscard]] O get_option() const {
    explain_option<O>();
    std::error_code ec;
    O option = get_option<O>(ec);
    if (ec) throw_error(ec, "rouse: get_option");
    return option;
  }
  template <class O>
  [[nodiscard]] O get_option(std::error_code& ec) const noexcept {
    explain_option<O>();
    O option;
    ec = do_get(O::level, O::name, option.data(), option.size()).code();
    return option;
  }
  template <class T>
  [[nodiscard]] T get_option(int level, int name) const {
    explain_raw_option<T>();
    T value{};
    this->check(do_get(level, name, &value, sizeof value), "rouse: get_option");
    return value;
  }
  template <class T>
  [[nodiscard]] T get_option(int level, int name, std::error_code& ec) const noexcept {
    explain_raw_option<T>();
    T value{};
    ec = do_get(level, name, &value, sizeof value).code();
    return value;
  }

  template <class V>
  [[nodiscard]] V get_option(int) const {
    explain_option_without_level<V>();
    return {};
  }

private:
  failure do_set(int level, int name, const void* value, std::size_t size) noexcept {
    return this->on_handle([&](native_handle_type h) {
      return Socket::sockets::set_option(h, level, name, value, size);
    });
  }
  failure do_get(int level, int name, void* value, std::size_t size) const noexcept {
    return this->on_handle([&](native_handle_type h) {
      return Socket::sockets::get_option(h, level, name, value, size);
    });
  }
  endpoint query(failure (*get)(native_handle_type, endpoint&) noexcept,
                 std::error_code& ec) const noexcept {
    endpoint result;
    ec = this->on_handle([&](native_handle_type h) { return get(h, result); }).code();
    return result;
  }
  endpoint query(failure (*get)(native_handle_type, endpoint&) noexcept, const char* what) const {
    std::error_code ec;
    endpoint result = query(get, ec);
    if (ec) throw_error(ec, what);
    return result;
  }
};

}}} // namespace rouse::ROUSE_ABI::detail
