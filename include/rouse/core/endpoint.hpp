// An endpoint: an address and a port.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>

#include <array>
#include <charconv>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#if defined(__cpp_lib_format)
#include <format>
#endif

namespace rouse::inline ROUSE_ABI {

/// The platform's AF_UNSPEC, AF_INET, AF_INET6.
inline constexpr int family_unspecified = 0;
inline constexpr int family_ipv4 = 2;
inline constexpr int family_ipv6 = ROUSE_WINDOWS ? 23 : 10;

/// An IPv4 or IPv6 address with a port. A value: cheap to copy, ordered (by family, address, scope,
/// port), hashable.
///
/// Default-constructed it is unspecified. Threads: as an int. Cost: no allocation but for text.
class endpoint {
public:
  constexpr endpoint() noexcept = default;

  /// @param address  "127.0.0.1", "::1", "fe80::1%2" (a scope is a number; names of interfaces are
  /// not looked up).
  /// @param port     0 to 65535; for bind, 0 lets the system choose.
  ///
  /// Errors: invalid_argument, which quotes the text. Nothing is looked up: for names there is a
  /// resolver.
  endpoint(std::string_view address, int port) {
    std::error_code ec;
    *this = endpoint(address, port, ec);
    if (ec) refuse(ec, address);
  }
  endpoint(std::string_view address, int port, std::error_code& ec) noexcept {
    const bool sound = port >= 0 && port <= 65535 && read_address(address);
    ec = sound ? std::error_code{} : std::make_error_code(std::errc::invalid_argument);
    if (sound)
      port_ = static_cast<std::uint16_t>(port);
    else
      *this = endpoint();
  }

  /// Reads "1.2.3.4:80", "[::1]:80", and an address alone, whose port is 0.
  ///
  /// Errors: invalid_argument, which quotes the text. Accepts what `to_string` writes.
  [[nodiscard]] static endpoint parse(std::string_view text) {
    std::error_code ec;
    endpoint ep = parse(text, ec);
    if (ec) refuse(ec, text);
    return ep;
  }
  [[nodiscard]] static endpoint parse(std::string_view text, std::error_code& ec) noexcept {
    int port = 0;
    ec = std::make_error_code(std::errc::invalid_argument);
    const bool bracketed = !text.empty() && text.front() == '[';
    const std::size_t colon = text.rfind(':');
    if (bracketed || (colon != text.npos && text.find(':') == colon)) {
      const std::size_t end = bracketed ? text.find(']') : colon;
      if (end == text.npos) return {};
      const std::string_view after = text.substr(bracketed ? end + 1 : end);
      if (after.empty() || after.front() != ':' || !read_number(after.substr(1), 10, 65535, port))
        return {};
      text = text.substr(bracketed ? 1 : 0, bracketed ? end - 1 : end);
      if (bracketed != (text.find(':') != text.npos)) return {}; // brackets are for IPv6
    }
    return endpoint(text, port, ec);
  }

  /// From bytes in network order.
  [[nodiscard]] static endpoint ipv4(const std::array<unsigned char, 4>& bytes,
                                     std::uint16_t port) noexcept {
    endpoint ep;
    for (std::size_t i = 0; i != 4; ++i) ep.bytes_[i] = bytes[i];
    ep.port_ = port;
    ep.kind_ = kind::ipv4;
    return ep;
  }
  [[nodiscard]] static endpoint ipv6(const std::array<unsigned char, 16>& bytes, std::uint16_t port,
                                     std::uint32_t scope = 0) noexcept {
    endpoint ep;
    ep.bytes_ = bytes;
    ep.port_ = port;
    ep.scope_ = scope;
    ep.kind_ = kind::ipv6;
    return ep;
  }

  /// AF_INET, AF_INET6, or AF_UNSPEC.
  [[nodiscard]] int family() const noexcept {
    return kind_ == kind::ipv4   ? family_ipv4
           : kind_ == kind::ipv6 ? family_ipv6
                                 : family_unspecified;
  }
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  void port(std::uint16_t p) noexcept { port_ = p; }
  [[nodiscard]] std::uint32_t scope_id() const noexcept { return scope_; }
  /// In network order: 4, 16 or no bytes. Borrowed from the endpoint.
  [[nodiscard]] std::span<const unsigned char> bytes() const noexcept {
    return {bytes_.data(), kind_ == kind::ipv4 ? 4u : kind_ == kind::ipv6 ? 16u : 0u};
  }

  /// The address as text, in the canonical form of RFC 5952; empty when unspecified.
  [[nodiscard]] std::string address() const {
    if (kind_ == kind::ipv4) return dotted(0);
    return kind_ == kind::ipv6 ? colons() : std::string();
  }
  /// "1.2.3.4:80", "[::1]:80"; empty when unspecified.
  [[nodiscard]] friend std::string to_string(const endpoint& ep) {
    if (ep.kind_ == kind::none) return {};
    std::string text = ep.address();
    if (ep.kind_ == kind::ipv6) text = '[' + text + ']';
    return text + ':' + std::to_string(ep.port_);
  }

  friend auto operator<=>(const endpoint&, const endpoint&) noexcept = default;

  template <class Char, class Traits, template <class, class> class Stream>
  friend Stream<Char, Traits>& operator<<(Stream<Char, Traits>& out, const endpoint& ep) {
    for (const char c : to_string(ep)) out.put(static_cast<Char>(c));
    return out;
  }

private:
  enum class kind : unsigned char { none, ipv4, ipv6 };

  [[noreturn]] static void refuse(std::error_code ec, std::string_view text) {
    detail::throw_error(ec, "rouse: \"" + std::string(text.substr(0, 60)) +
                                "\" is no address and port");
  }

  // Digits alone, no sign, no space.
  static bool read_number(std::string_view text, int base, unsigned long most, auto& out) noexcept {
    unsigned long value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size() || value > most)
      return false;
    out = static_cast<std::remove_reference_t<decltype(out)>>(value);
    return true;
  }

  bool read_address(std::string_view text) noexcept {
    if (text.size() > 64) return false;
    if (text.find(':') == text.npos) {
      kind_ = kind::ipv4;
      return read_dotted(text, bytes_.data());
    }
    kind_ = kind::ipv6;
    if (const std::size_t percent = text.find('%'); percent != text.npos) {
      if (!read_number(text.substr(percent + 1), 10, 0xffffffff, scope_)) return false;
      text = text.substr(0, percent);
    }
    return read_colons(text);
  }

  // Four numbers without leading zeros, which some would read as octal.
  static bool read_dotted(std::string_view text, unsigned char* out) noexcept {
    for (int part = 0; part != 4; ++part) {
      const std::size_t dot = part == 3 ? text.size() : text.find('.');
      if (dot == text.npos) return false;
      const std::string_view number = text.substr(0, dot);
      if (number.size() > 3 || (number.size() > 1 && number[0] == '0') ||
          !read_number(number, 10, 255, out[part]))
        return false;
      text = text.substr(part == 3 ? dot : dot + 1);
    }
    return true;
  }

  // Groups on the left of "::" fill from the front, those on its right from the back.
  bool read_colons(std::string_view text) noexcept {
    const std::size_t gap = text.find("::");
    std::array<unsigned char, 16> right{};
    std::size_t on_left = 0, on_right = 0;
    if (!read_groups(text.substr(0, gap), bytes_, on_left, gap == text.npos)) return false;
    if (gap == text.npos) return on_left == 16;
    if (!read_groups(text.substr(gap + 2), right, on_right, true) || on_left + on_right > 14)
      return false;
    for (std::size_t i = 0; i != on_right; ++i) bytes_[16 - on_right + i] = right[i];
    return true;
  }

  static bool read_groups(std::string_view text, std::array<unsigned char, 16>& out, std::size_t& n,
                          bool to_the_end) noexcept {
    if (text.empty()) return true;
    for (;;) {
      const std::size_t colon = text.find(':');
      const std::string_view group = text.substr(0, colon);
      if (colon == text.npos && to_the_end && group.find('.') != group.npos) {
        if (n > 12 || !read_dotted(group, out.data() + n)) return false;
        n += 4;
        return true;
      }
      unsigned value = 0;
      if (n == 16 || group.size() > 4 || !read_number(group, 16, 0xffff, value)) return false;
      out[n++] = static_cast<unsigned char>(value >> 8);
      out[n++] = static_cast<unsigned char>(value & 0xff);
      if (colon == text.npos) return true;
      text = text.substr(colon + 1);
    }
  }

  std::string dotted(std::size_t first) const {
    std::string text;
    for (std::size_t i = first; i != first + 4; ++i)
      text += (i == first ? "" : ".") + std::to_string(bytes_[i]);
    return text;
  }

  unsigned group(std::size_t i) const noexcept {
    return static_cast<unsigned>(bytes_[2 * i] << 8 | bytes_[2 * i + 1]);
  }

  // The longest run of at least two zero groups, the first of equals: where "::" stands.
  void find_gap(std::size_t& begin, std::size_t& length) const noexcept {
    for (std::size_t i = 0; i != 8; ++i) {
      std::size_t n = 0;
      while (i + n != 8 && group(i + n) == 0) ++n;
      if (n > length && n > 1) begin = i, length = n;
    }
  }

  std::string colons() const {
    std::size_t gap = 8, length = 0;
    find_gap(gap, length);
    const bool mapped = gap == 0 && length == 5 && group(5) == 0xffff;
    std::string text;
    for (std::size_t i = 0; i != (mapped ? 6u : 8u); ++i) {
      if (i == gap) text += "::";
      if (i >= gap && i < gap + length) continue;
      if (!text.empty() && text.back() != ':') text += ':';
      char digits[4];
      text.append(digits, std::to_chars(digits, digits + 4, group(i), 16).ptr);
    }
    if (mapped) text += ':' + dotted(12);
    return scope_ == 0 ? text : text + '%' + std::to_string(scope_);
  }

  kind kind_ = kind::none;
  std::array<unsigned char, 16> bytes_{};
  std::uint32_t scope_ = 0;
  std::uint16_t port_ = 0;
};

} // namespace rouse::inline ROUSE_ABI

template <>
struct std::hash<rouse::endpoint> {
  std::size_t operator()(const rouse::endpoint& ep) const noexcept {
    std::size_t h =
        (std::size_t{ep.port()} << 16) ^ ep.scope_id() ^ static_cast<std::size_t>(ep.family());
    for (const unsigned char byte : ep.bytes()) h = h * 131 + byte;
    return h;
  }
};

#if defined(__cpp_lib_format)
template <>
struct std::formatter<rouse::endpoint> : std::formatter<std::string> {
  auto format(const rouse::endpoint& ep, auto& context) const {
    return std::formatter<std::string>::format(to_string(ep), context);
  }
};
#endif
