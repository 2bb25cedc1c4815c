// An endpoint: an IPv4 or IPv6 address and a port, as a value; its text, read and written.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>

#include <array>
#include <charconv>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <version>
#if defined(__cpp_lib_format)
#include <format>
#endif

namespace rouse::inline ROUSE_ABI {

/// The platform's AF_UNSPEC, AF_INET and AF_INET6, for where its headers are not at hand.
inline constexpr int family_unspecified = 0;
inline constexpr int family_ipv4 = 2;
inline constexpr int family_ipv6 = ROUSE_WINDOWS ? 23 : 10;

/// An IPv4 or IPv6 address and a port: where a socket is, or its peer.
///
/// A trivially copyable value. Default-constructed it is unspecified: no family, no bytes, port 0.
/// Ordered by family (unspecified, IPv4, IPv6), address, scope, port, and equal when all of these
/// are: ::ffff:1.2.3.4 is an IPv6 address, and another one than 1.2.3.4.
///
/// Text is read strictly and alike on every platform, where inet_aton(3) guesses. An IPv4 address
/// has four decimal numbers, none with a leading zero (some would read 010 as 8). A scope is a
/// number: names of interfaces are not looked up (if_nametoindex(3) does). No sign, no space,
/// nothing after the end. Names of hosts are a resolver's business.
///
/// Threads: as an int. Cost: 28 bytes; no allocation but for the strings it gives or throws.
class endpoint {
public:
  constexpr endpoint() noexcept = default;

  /// An address as text, a port as a number: `listener.bind({"127.0.0.1", 3000})`.
  ///
  /// @param address  "127.0.0.1", "::1", "::ffff:1.2.3.4", "fe80::1%2" (scope 2). Read, not kept.
  /// @param port     0 to 65535; to bind, 0 lets the system choose. Its type is wide so that no
  ///                 other number is cut down to one of these.
  ///
  /// Errors: invalid_argument, for either. The exception quotes both, of the text at most 60
  /// characters; with `ec` the endpoint is then the unspecified one.
  /// Source: RFC 4291, section 2.2 (IPv6 addresses as text); RFC 4007, section 11 (scopes).
  endpoint(std::string_view address, long long port) {
    std::error_code ec;
    *this = endpoint(address, port, ec);
    if (!ec) return;
    refuse(address, ", " + std::to_string(port) + ": not an IP address and a port up to 65535", ec);
  }
  endpoint(std::string_view address, long long port, std::error_code& ec) noexcept {
    const bool sound = port >= 0 && port <= 65535 && read_address(address);
    *this = sound ? endpoint(kind_, bytes_, scope_, static_cast<std::uint16_t>(port)) : endpoint();
    ec = sound ? std::error_code() : std::make_error_code(std::errc::invalid_argument);
  }

  /// Reads "1.2.3.4:80" and "[::1]:80", as `to_string` writes, or an address alone, with port 0.
  ///
  /// Brackets are for an IPv6 address with a port; without them all of "::1:80" is the address.
  /// A port has one to five digits.
  ///
  /// Errors: invalid_argument, as above; "" is one, though `to_string` gives it for unspecified.
  /// Source: RFC 3986, section 3.2.2 (brackets).
  [[nodiscard]] static endpoint parse(std::string_view text) {
    std::error_code ec;
    const endpoint ep = parse(text, ec);
    if (ec) refuse(text, R"(: neither "1.2.3.4:80", "[::1]:80", nor an IP address alone)", ec);
    return ep;
  }
  [[nodiscard]] static endpoint parse(std::string_view text, std::error_code& ec) noexcept {
    std::string_view digits = "0";
    int port = -1; // refused, unless there is a number to read
    if (split(text, digits) && digits.size() <= 5) read_number(digits, 10, port);
    return endpoint(text, port, ec);
  }

  /// From an address in network order, and a port in the host's: what a sockaddr_in holds.
  [[nodiscard]] static constexpr endpoint ipv4(std::array<unsigned char, 4> bytes,
                                               std::uint16_t port) noexcept {
    return {kind::ipv4, {bytes[0], bytes[1], bytes[2], bytes[3]}, 0, port};
  }
  /// The same of a sockaddr_in6. `scope` is an interface's index, for link-local addresses, or 0.
  [[nodiscard]] static constexpr endpoint
  ipv6(std::array<unsigned char, 16> bytes, std::uint16_t port, std::uint32_t scope = 0) noexcept {
    return {kind::ipv6, bytes, scope, port};
  }

  /// family_ipv4 (AF_INET), family_ipv6 (AF_INET6), or family_unspecified.
  [[nodiscard]] constexpr int family() const noexcept {
    if (kind_ == kind::ipv4) return family_ipv4;
    return kind_ == kind::ipv6 ? family_ipv6 : family_unspecified;
  }
  /// In the host's order.
  [[nodiscard]] constexpr std::uint16_t port() const noexcept { return port_; }
  constexpr void port(std::uint16_t p) noexcept { port_ = p; }
  /// The index of the interface that a link-local address is meant on; 0 is none.
  [[nodiscard]] constexpr std::uint32_t scope_id() const noexcept { return scope_; }
  /// The address in network order: 4, 16 or no bytes. Borrowed: they live as long as the endpoint.
  [[nodiscard]] constexpr std::span<const unsigned char> bytes() const noexcept {
    return std::span(bytes_).first(kind_ == kind::ipv4 ? 4 : kind_ == kind::ipv6 ? 16 : 0);
  }

  /// The address as text, which the constructor reads back; "" when unspecified.
  ///
  /// IPv6 in its canonical form: lower case, no leading zeros, "::" for the longest run of two or
  /// more zero groups (the first of equals), ::ffff:1.2.3.4 with dots; then %scope, unless it is 0.
  /// Source: RFC 5952, sections 4 and 5.
  [[nodiscard]] std::string address() const {
    std::string text;
    if (kind_ == kind::ipv4) write_dotted(text, 0);
    if (kind_ == kind::ipv6) write_colons(text);
    return text;
  }

  friend constexpr auto operator<=>(const endpoint&, const endpoint&) noexcept = default;

private:
  enum class kind : unsigned char { none, ipv4, ipv6 };

  constexpr endpoint(kind k, std::array<unsigned char, 16> bytes, std::uint32_t scope,
                     std::uint16_t port) noexcept
      : kind_(k), bytes_(bytes), scope_(scope), port_(port) {}

  // A character that is not printable could forge a line of a log; a NUL would end what() early.
  [[noreturn]] static void refuse(std::string_view text, std::string_view why, std::error_code ec) {
    std::string what = "rouse: \"";
    for (const char c : text.substr(0, 60)) what += c >= ' ' && c <= '~' ? c : '?';
    what.append(text.size() > 60 ? "...\"" : "\"").append(why);
    detail::throw_error(ec, what);
  }

  // Takes brackets and port off an address; false where the brackets are wrong.
  static bool split(std::string_view& address, std::string_view& port) noexcept {
    const bool bracketed = address.starts_with('[');
    const std::size_t colon = address.find(bracketed ? "]:" : ":");
    if (colon == address.npos) return !bracketed;
    if (!bracketed && address.find(':', colon + 1) != address.npos) return true;
    port = address.substr(colon + (bracketed ? 2 : 1));
    address = address.substr(bracketed ? 1 : 0, colon - (bracketed ? 1 : 0));
    return bracketed == (address.find(':') != address.npos);
  }

  // Digits from the first character to the last: no sign, no space, no prefix.
  template <class Int>
  static bool read_number(std::string_view text, int base, Int& out) noexcept {
    std::make_unsigned_t<Int> value = 0;
    const char* const last = text.data() + text.size();
    const auto [end, error] = std::from_chars(text.data(), last, value, base);
    if (error != std::errc() || end != last) return false;
    out = static_cast<Int>(value);
    return true;
  }

  // Leaves the endpoint half-written where it gives false.
  bool read_address(std::string_view text) noexcept {
    kind_ = text.find(':') == text.npos ? kind::ipv4 : kind::ipv6;
    if (kind_ == kind::ipv4) return read_dotted(text, bytes_.data());
    const std::size_t percent = text.find('%');
    if (percent == text.npos) return read_colons(text);
    const std::string_view scope = text.substr(percent + 1);
    if (scope.size() > 10 || !read_number(scope, 10, scope_)) return false;
    return read_colons(text.substr(0, percent));
  }

  static bool read_dotted(std::string_view text, unsigned char* out) noexcept {
    for (int part = 0; part != 4; ++part) {
      const std::size_t dot = part == 3 ? text.size() : text.find('.');
      if (dot == text.npos) return false;
      const std::string_view number = text.substr(0, dot);
      if (number.size() > 1 && number[0] == '0') return false;
      if (!read_number(number, 10, out[part])) return false;
      text.remove_prefix(part == 3 ? dot : dot + 1);
    }
    return true;
  }

  // Left of "::" is the address's front, right of it its end; "::" is one group at least.
  bool read_colons(std::string_view text) noexcept {
    const std::size_t gap = text.find("::");
    if (gap == text.npos) return read_groups(text, true, bytes_) == 16;
    const std::string_view left = text.substr(0, gap), right = text.substr(gap + 2);
    std::array<unsigned char, 16> end{};
    const std::size_t before = read_groups(left, false, bytes_);
    const std::size_t after = read_groups(right, true, end);
    if ((before == 0) != left.empty() || (after == 0) != right.empty()) return false;
    if (before + after > 14) return false;
    for (std::size_t i = 0; i != after; ++i) bytes_[16 - after + i] = end[i];
    return true;
  }

  // Gives the number of bytes, 0 for what are no groups. The last two may be an IPv4 address.
  static std::size_t read_groups(std::string_view text, bool last,
                                 std::array<unsigned char, 16>& out) noexcept {
    for (std::size_t n = 0; n != 16; n += 2) {
      const std::size_t colon = text.find(':');
      const std::string_view group = text.substr(0, colon);
      if (last && colon == text.npos && group.find('.') != text.npos)
        return n <= 12 && read_dotted(group, &out[n]) ? n + 4 : 0;
      std::uint16_t value = 0;
      if (group.size() > 4 || !read_number(group, 16, value)) return 0;
      out[n] = static_cast<unsigned char>(value >> 8);
      out[n + 1] = static_cast<unsigned char>(value & 0xff);
      if (colon == text.npos) return n + 2;
      text.remove_prefix(colon + 1);
    }
    return 0;
  }

  static void write_number(std::string& text, std::uint32_t value, int base = 10) {
    char digits[10];
    text.append(digits, std::to_chars(digits, digits + 10, value, base).ptr);
  }

  void write_dotted(std::string& text, std::size_t first) const {
    write_number(text, bytes_[first]);
    for (std::size_t i = 1; i != 4; ++i) write_number(text += '.', bytes_[first + i]);
  }

  void write_colons(std::string& text) const {
    const auto [gap, length] = longest_gap();
    const bool mapped = length == 5 && group(5) == 0xffff; // so the five are the first
    for (std::size_t i = 0; i != (mapped ? 6 : 8); ++i) {
      if (i == gap) text += "::";
      if (i >= gap && i < gap + length) continue;
      if (i != 0 && i != gap + length) text += ':';
      write_number(text, group(i), 16);
    }
    if (mapped) write_dotted(text += ':', 12);
    if (scope_ != 0) write_number(text += '%', scope_);
  }

  unsigned group(std::size_t i) const noexcept { return 256u * bytes_[2 * i] + bytes_[2 * i + 1]; }

  struct run {
    std::size_t begin = 8, length = 0;
  };
  // Where "::" stands, and for how many groups.
  run longest_gap() const noexcept {
    run longest;
    for (std::size_t i = 0, length = 0; i != 8; ++i) {
      length = group(i) == 0 ? length + 1 : 0;
      if (length > 1 && length > longest.length) longest = {i + 1 - length, length};
    }
    return longest;
  }

  kind kind_ = kind::none; // first: the members' order is the endpoints'
  std::array<unsigned char, 16> bytes_{};
  std::uint32_t scope_ = 0;
  std::uint16_t port_ = 0;
};

/// "1.2.3.4:80", "[::1]:80", "[fe80::1%2]:80", as `parse` reads them; "" when unspecified.
[[nodiscard]] inline std::string to_string(const endpoint& ep) {
  if (ep.family() == family_unspecified) return {};
  const bool brackets = ep.family() == family_ipv6;
  std::string text = brackets ? "[" : "";
  text.append(ep.address()).append(brackets ? "]:" : ":");
  return text += std::to_string(ep.port());
}

/// Writes what `to_string` gives; width and fill apply. Cost: <iosfwd>; who prints has <ostream>.
template <class Char, class Traits>
std::basic_ostream<Char, Traits>& operator<<(std::basic_ostream<Char, Traits>& out,
                                             const endpoint& ep) {
  return out << to_string(ep).c_str();
}

} // namespace rouse::inline ROUSE_ABI

/// Of all that == compares: FNV-1a, as tables may look at the low bits alone.
template <>
struct std::hash<rouse::endpoint> {
  std::size_t operator()(const rouse::endpoint& ep) const noexcept {
    std::uint64_t h = 0xcbf29ce484222325;
    const auto add = [&h](std::uint32_t value) noexcept { h = (h ^ value) * 0x100000001b3; };
    for (const unsigned char b : ep.bytes()) add(b);
    add(ep.scope_id());
    add(ep.port() & 0xffu);
    add(ep.port() >> 8u);
    return static_cast<std::size_t>(h ^ h >> 32);
  }
};

#if defined(__cpp_lib_format)
/// Writes what `to_string` gives, under the format of a string: std::format("{:>24}", ep).
template <>
struct std::formatter<rouse::endpoint> : std::formatter<std::string_view> {
  auto format(const rouse::endpoint& ep, auto& context) const {
    return std::formatter<std::string_view>::format(to_string(ep), context);
  }
};
#endif
