// An endpoint: an IPv4 or IPv6 address and a port, or the name of a Unix-domain socket, as a value.
// Reads and writes it as text.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/endpoint_piece.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/interface_index.hpp>

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

namespace rouse { inline namespace ROUSE_ABI {

/// The platform's AF_UNSPEC, AF_UNIX, AF_INET and AF_INET6, for code without its headers.
inline constexpr int family_unspecified = 0;
inline constexpr int family_local = 1;
inline constexpr int family_ipv4 = 2;
inline constexpr int family_ipv6 = ROUSE_WINDOWS ? 23 : ROUSE_DARWIN ? 30 : 10;

/// The address of a socket or of its peer: an IPv4 or IPv6 address and a port, or the name of a
/// Unix-domain socket.
///
/// A trivially copyable value. Default-constructed, it is unspecified: no family, no bytes, port 0.
/// Endpoints are ordered by family (unspecified, IPv4, IPv6, local), address, scope and port, and
/// equal if all of these are. ::ffff:1.2.3.4 is an IPv6 address, so it differs from 1.2.3.4.
///
/// Text is parsed strictly and the same way on every platform, unlike by inet_aton(3). An IPv4
/// address has four decimal numbers without leading zeros (some parsers read 010 as 8). A scope is
/// a number, or on Linux the name of an interface of this machine; the endpoint's text then has the
/// name again. Signs, spaces and trailing characters are refused. Host names are not endpoints: see
/// `resolve`.
///
/// Threads: as an int. Cost: 116 bytes, because the longest local name has 108 (104 on macOS); only
/// the strings that it returns or throws are allocated.
class endpoint {
public:
  constexpr endpoint() noexcept = default;

  template <detail::endpoint_piece Piece>
  explicit endpoint(const Piece&) noexcept {
    detail::explain_endpoint<Piece>();
  }

  /// Makes an endpoint of an address as text and a port: `listener.bind({"127.0.0.1", 3000})`.
  ///
  /// @param address  "127.0.0.1", "::1", "::ffff:1.2.3.4", "fe80::1%2" (scope 2), "fe80::1%eth0".
  ///                 Only read during the call.
  /// @param port     0 to 65535; in a bind, 0 lets the system choose. The type is wide so that a
  ///                 number out of range is refused instead of truncated.
  ///
  /// Errors: invalid_argument for either (also if no interface has the name). The exception quotes
  /// both, and at most 60 characters of the text. With `ec` the endpoint is then unspecified.
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
    ec = sound ? std::error_code() : failure(std::errc::invalid_argument).code();
  }

  /// The name of a Unix-domain socket (AF_UNIX): `listener.bind(endpoint::local("/run/x.sock"))`.
  ///
  /// @param name  a path of 1 to 107 bytes, or '@' and up to 107 bytes of any kind. The latter is
  ///              an abstract name, which on Linux is not a file (a NUL may replace the '@'). For a
  ///              file with a name that begins with '@', write "./@x". Only read during the call.
  ///
  /// Without `name`, it is the endpoint of an unbound socket. On Linux a bind to it makes the
  /// system choose an abstract name, as port 0 makes it choose a port.
  ///
  /// Errors: filename_too_long; invalid_argument ("", a NUL in a path). With `ec` the endpoint is
  /// then unspecified. Source: unix(7).
  [[nodiscard]] static endpoint local(std::string_view name) {
    std::error_code ec;
    const endpoint ep = local(name, ec);
    if (ec) refuse(name, ": not a path, or @name, of at most 107 bytes", ec);
    return ep;
  }
  [[nodiscard]] static endpoint local(std::string_view name, std::error_code& ec) noexcept {
    const bool abstract = !name.empty() && (name[0] == '@' || name[0] == '\0');
    const bool sound = !name.empty() && (abstract || name.find('\0') == name.npos);
    const bool fits = name.size() <= (abstract ? longest_name : longest_name - 1);
    ec = !sound ? failure(std::errc::invalid_argument).code()
         : fits ? std::error_code()
                : failure(std::errc::filename_too_long).code();
    if (ec) return {};
    endpoint ep = named(name);
    if (abstract) ep.bytes_[0] = 0;
    return ep;
  }
  [[nodiscard]] static constexpr endpoint local() noexcept { return named({}); }

  /// Parses the format of `to_string`: "1.2.3.4:80", "[::1]:80", "unix:/run/x.sock"; or an IP
  /// address alone, with port 0.
  ///
  /// An IPv6 address with a port needs brackets: without them, all of "::1:80" is the address. A
  /// port has one to five digits. A name as in `local` follows "unix:"; in it, %XX is the byte with
  /// these two hexadecimal digits.
  ///
  /// Errors: as above. "" and "unix:" are refused with invalid_argument, although `to_string`
  /// returns them for endpoints without an address. Source: RFC 3986, sections 3.2.2 (brackets) and
  /// 2.1 (%XX).
  [[nodiscard]] static endpoint parse(std::string_view text) {
    std::error_code ec;
    const endpoint ep = parse(text, ec);
    if (ec) {
      refuse(
          text,
          R"(: none of "1.2.3.4:80", "[::1]:80", an IP address alone, "unix:/path", "unix:@name")",
          ec);
    }
    return ep;
  }
  [[nodiscard]] static endpoint parse(std::string_view text, std::error_code& ec) noexcept {
    if (text.starts_with(local_prefix)) return parse_local(text.substr(local_prefix.size()), ec);
    std::string_view digits = "0";
    int port = -1; // refused if it stays
    if (split(text, digits) && digits.size() <= 5) read_number(digits, 10, port);
    return endpoint(text, port, ec);
  }

  /// Makes an endpoint of an address in network byte order and a port in host byte order.
  [[nodiscard]] static constexpr endpoint ipv4(std::array<unsigned char, 4> bytes,
                                               std::uint16_t port) noexcept {
    return {kind::ipv4, {bytes[0], bytes[1], bytes[2], bytes[3]}, 0, port};
  }
  /// Likewise for IPv6. `scope` is the index of an interface, for link-local addresses, or 0.
  [[nodiscard]] static constexpr endpoint
  ipv6(std::array<unsigned char, 16> bytes, std::uint16_t port, std::uint32_t scope = 0) noexcept {
    endpoint ep(kind::ipv6, {}, scope, port);
    for (std::size_t i = 0; i != bytes.size(); ++i) ep.bytes_[i] = bytes[i];
    return ep;
  }
  /// Makes an endpoint of the name in a sockaddr_un, where an abstract name begins with a NUL.
  /// Bytes after the first 108 (104 on macOS) are ignored.
  [[nodiscard]] static constexpr endpoint named(std::string_view bytes) noexcept {
    endpoint ep;
    ep.kind_ = kind::local;
    for (const char c : bytes.substr(0, longest_name))
      ep.bytes_[ep.length_++] = static_cast<unsigned char>(c);
    return ep;
  }

  /// family_ipv4 (AF_INET), family_ipv6 (AF_INET6), family_local (AF_UNIX), or family_unspecified.
  [[nodiscard]] constexpr int family() const noexcept {
    constexpr int families[] = {family_unspecified, family_ipv4, family_ipv6, family_local};
    return families[static_cast<int>(kind_)];
  }
  /// The port in host byte order; 0 for a local name.
  [[nodiscard]] constexpr std::uint16_t port() const noexcept { return port_; }
  constexpr void port(std::uint16_t p) noexcept { port_ = p; }
  /// The index of the interface of a link-local address; 0: none.
  [[nodiscard]] constexpr std::uint32_t scope_id() const noexcept { return scope_; }
  /// The address in network byte order: 4, 16 or no bytes. For a local name its bytes, with the NUL
  /// that begins an abstract name, but without a terminating one. Borrowed: valid as long as the
  /// endpoint.
  [[nodiscard]] constexpr std::span<const unsigned char> bytes() const noexcept {
    return std::span(bytes_).first(length_);
  }

  /// The address as text, which the constructor or `local` accepts. "" if unspecified or without a
  /// name.
  ///
  /// IPv6 addresses are in canonical form: lower case, no leading zeros, "::" for the longest run
  /// of two or more zero groups (the first of equal runs), ::ffff:1.2.3.4 with dots. A scope other
  /// than 0 follows as %scope: the name that the address was parsed with, else the number.
  /// Source: RFC 5952, sections 4 and 5.
  [[nodiscard]] std::string address() const {
    std::string text;
    if (kind_ == kind::ipv4) write_dotted(text, 0);
    if (kind_ == kind::ipv6) write_colons(text);
    if (kind_ == kind::local) write_name(text);
    return text;
  }

  friend constexpr std::strong_ordering operator<=>(const endpoint& a, const endpoint& b) noexcept {
    if (a.kind_ != b.kind_) return a.kind_ <=> b.kind_;
    const unsigned shorter = a.length_ < b.length_ ? a.length_ : b.length_;
    for (unsigned i = 0; i != shorter; ++i) {
      if (a.bytes_[i] != b.bytes_[i]) return a.bytes_[i] <=> b.bytes_[i];
    }
    if (a.length_ != b.length_) return a.length_ <=> b.length_;
    return a.scope_ != b.scope_ ? a.scope_ <=> b.scope_ : a.port_ <=> b.port_;
  }
  friend constexpr bool operator==(const endpoint& a, const endpoint& b) noexcept {
    return (a <=> b) == 0;
  }

private:
  enum class kind : unsigned char { none, ipv4, ipv6, local };
  static constexpr std::size_t longest_name = ROUSE_DARWIN ? 104 : 108; // of a sockaddr_un
  static constexpr std::size_t scope_name = 16; // its offset in the bytes of an IPv6 address
  static constexpr std::string_view local_prefix = "unix:";
  friend std::string to_string(const endpoint&);

  constexpr endpoint(kind k, std::array<unsigned char, longest_name> bytes, std::uint32_t scope,
                     std::uint16_t port) noexcept
      : kind_(k), length_(k == kind::ipv4 ? 4 : 16), port_(port), scope_(scope), bytes_(bytes) {}

  // Replaces unprintable characters: they could forge a line of a log, and a NUL would end what().
  [[noreturn]] static void refuse(std::string_view text, std::string_view why, std::error_code ec) {
    std::string what = "rouse: \"";
    for (const char c : text.substr(0, 60)) what += c >= ' ' && c <= '~' ? c : '?';
    what.append(text.size() > 60 ? "...\"" : "\"").append(why);
    detail::throw_error(ec, what);
  }

  static endpoint parse_local(std::string_view text, std::error_code& ec) noexcept {
    char name[longest_name + 1]; // one more byte, to detect a name that is too long
    std::size_t size = 0;
    while (!text.empty() && size != sizeof name) {
      unsigned char c = static_cast<unsigned char>(text[0]);
      const bool escaped = c == '%';
      if (escaped && (text.size() < 3 || !read_number(text.substr(1, 2), 16, c))) {
        ec = failure(std::errc::invalid_argument).code();
        return {};
      }
      name[size++] = static_cast<char>(c);
      text.remove_prefix(escaped ? 3 : 1);
    }
    return local({name, size}, ec);
  }

  // Removes the brackets and the port from an address; false if the brackets are wrong.
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

  // If it returns false, the endpoint is half-written.
  bool read_address(std::string_view text) noexcept {
    kind_ = text.find(':') == text.npos ? kind::ipv4 : kind::ipv6;
    if (kind_ == kind::ipv4) return read_dotted(text, bytes_.data());
    const std::size_t percent = text.find('%');
    if (percent == text.npos) return read_colons(text);
    return read_colons(text.substr(0, percent)) && read_scope(text.substr(percent + 1));
  }

  // A number, or the name of an interface. The name is stored behind the address; it is neither
  // compared nor part of `bytes`.
  bool read_scope(std::string_view scope) noexcept {
    if (scope.size() <= 10 && read_number(scope, 10, scope_)) return true;
    scope_ = os::interface_index(scope);
    if (scope_ == 0) return false;
    scope.copy(reinterpret_cast<char*>(bytes_.data() + scope_name), scope.size());
    return true;
  }
  [[nodiscard]] std::string_view scope_text() const noexcept {
    return reinterpret_cast<const char*>(bytes_.data() + scope_name);
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

  // The groups before "::" are the front of the address, those after it the end. "::" itself stands
  // for at least one group.
  bool read_colons(std::string_view text) noexcept {
    const std::size_t gap = text.find("::");
    if (gap == text.npos) return read_groups(text, true, bytes_.data()) == 16;
    const std::string_view left = text.substr(0, gap), right = text.substr(gap + 2);
    std::array<unsigned char, 16> end{};
    const std::size_t before = read_groups(left, false, bytes_.data());
    const std::size_t after = read_groups(right, true, end.data());
    if ((before == 0) != left.empty() || (after == 0) != right.empty()) return false;
    if (before + after > 14) return false;
    for (std::size_t i = 0; i != after; ++i) bytes_[16 - after + i] = end[i];
    return true;
  }

  // Returns the number of bytes, or 0 if the text is not a list of groups. The last two groups may
  // be an IPv4 address.
  static std::size_t read_groups(std::string_view text, bool last, unsigned char* out) noexcept {
    for (std::size_t n = 0; n != 16; n += 2) {
      const std::size_t colon = text.find(':');
      const std::string_view group = text.substr(0, colon);
      if (last && colon == text.npos && group.find('.') != text.npos)
        return n <= 12 && read_dotted(group, out + n) ? n + 4 : 0;
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
    const bool mapped = length == 5 && group(5) == 0xffff; // the five zero groups are the first
    for (std::size_t i = 0; i != (mapped ? 6 : 8); ++i) {
      if (i == gap) text += "::";
      if (i >= gap && i < gap + length) continue;
      if (i != 0 && i != gap + length) text += ':';
      write_number(text, group(i), 16);
    }
    if (mapped) write_dotted(text += ':', 12);
    if (scope_ == 0) return;
    text += '%';
    if (const std::string_view name = scope_text(); !name.empty())
      text += name;
    else
      write_number(text, scope_);
  }

  // A path that begins with '@' is written as "./@...", so that it does not look abstract.
  void write_name(std::string& text) const {
    if (length_ != 0 && bytes_[0] == '@') text += "./";
    for (const unsigned char b : bytes()) text += static_cast<char>(b);
    if (length_ != 0 && bytes_[0] == 0) text[0] = '@';
  }

  unsigned group(std::size_t i) const noexcept { return 256u * bytes_[2 * i] + bytes_[2 * i + 1]; }

  struct run {
    std::size_t begin = 8, length = 0;
  };
  // The position of "::", and the number of groups that it stands for.
  run longest_gap() const noexcept {
    run longest;
    for (std::size_t i = 0, length = 0; i != 8; ++i) {
      length = group(i) == 0 ? length + 1 : 0;
      if (length > 1 && length > longest.length) longest = {i + 1 - length, length};
    }
    return longest;
  }

  kind kind_ = kind::none;
  unsigned char length_ = 0; // bytes of bytes_ that are used
  std::uint16_t port_ = 0;
  std::uint32_t scope_ = 0;
  std::array<unsigned char, longest_name> bytes_{};
};

/// Returns "1.2.3.4:80", "[::1]:80", "[fe80::1%2]:80", "unix:/run/x.sock" or "unix:@abstract", as
/// `parse` accepts them; "" if unspecified, "unix:" without a name. Control characters and '%' of a
/// local name are written as %XX.
[[nodiscard]] inline std::string to_string(const endpoint& ep) {
  if (ep.family() == family_unspecified) return {};
  if (ep.family() == family_local) {
    std::string text(endpoint::local_prefix);
    for (const char c : ep.address()) {
      if (static_cast<unsigned char>(c) >= ' ' && c != '%' && c != '\x7f')
        text += c;
      else
        (text += '%').append({"0123456789ABCDEF"[c >> 4], "0123456789ABCDEF"[c & 15]});
    }
    return text;
  }
  const bool brackets = ep.family() == family_ipv6;
  std::string text = brackets ? "[" : "";
  text.append(ep.address()).append(brackets ? "]:" : ":");
  return text += std::to_string(ep.port());
}

/// Writes the result of `to_string`; width and fill apply. This header includes <iosfwd> only: to
/// print, include <ostream>.
template <class Char, class Traits>
std::basic_ostream<Char, Traits>& operator<<(std::basic_ostream<Char, Traits>& out,
                                             const endpoint& ep) {
  return out << to_string(ep).c_str();
}

}} // namespace rouse::ROUSE_ABI

/// Hashes all that == compares. FNV-1a, because hash tables may use the low bits only.
template <>
struct std::hash<rouse::endpoint> {
  std::size_t operator()(const rouse::endpoint& ep) const noexcept {
    std::uint64_t h = 0xcbf29ce484222325;
    const auto add = [&h](std::uint32_t value) noexcept { h = (h ^ value) * 0x100000001b3; };
    add(static_cast<std::uint32_t>(ep.family()));
    for (const unsigned char b : ep.bytes()) add(b);
    add(ep.scope_id());
    add(ep.port() & 0xffu);
    add(ep.port() >> 8u);
    return static_cast<std::size_t>(h ^ h >> 32);
  }
};

#if defined(__cpp_lib_format)
/// Writes the result of `to_string` with a string's format: std::format("{:>24}", ep).
template <>
struct std::formatter<rouse::endpoint> : std::formatter<std::string_view> {
  auto format(const rouse::endpoint& ep, auto& context) const {
    return std::formatter<std::string_view>::format(to_string(ep), context);
  }
};
#endif
