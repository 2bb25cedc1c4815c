// Fetches a page: `https_get URL [ROOTS]`. ROOTS is a file with root certificates (PEM), which are
// trusted in place of the system's.
//
// The server has to prove that it is the host of the URL. For an http:// URL the same template
// speaks over a plain socket.
#include <rouse/tls.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>

using namespace std::chrono_literals;

constexpr auto patience = 10s; // for the connection, and for each piece of the page

struct url {
  std::string scheme, host, port, path = "/";

  explicit url(std::string_view text) {
    const auto end_of_scheme = text.find("://");
    if (end_of_scheme == text.npos) throw std::runtime_error("not a URL");
    scheme = text.substr(0, end_of_scheme);
    text.remove_prefix(end_of_scheme + 3);
    if (const auto slash = text.find('/'); slash != text.npos) {
      path = text.substr(slash);
      text = text.substr(0, slash);
    }
    port = scheme;
    const auto colon = text.rfind(':');
    if (colon != text.npos && text.find(']', colon) == text.npos) {
      port = text.substr(colon + 1);
      text = text.substr(0, colon);
    }
    if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
    host = text;
  }
};

// The length that a header announces; -1: none.
long long length_in(std::string_view line) {
  constexpr std::string_view name = "content-length:";
  if (line.size() < name.size()) return -1;
  for (std::size_t i = 0; i != name.size(); ++i) {
    const char c = 'A' <= line[i] && line[i] <= 'Z' ? static_cast<char>(line[i] + 32) : line[i];
    if (c != name[i]) return -1;
  }
  line.remove_prefix(name.size());
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  long long length = -1;
  std::from_chars(line.data(), line.data() + line.size(), length);
  return length;
}

// Writes the page to std::cout. A page without a length ends with the stream. TLS protects that end:
// if an attacker cuts it off, the call fails with tls::error::truncated.
template <rouse::byte_stream Stream>
rouse::task<> fetch(Stream conn, const url& what) {
  const std::string request = "GET " + what.path + " HTTP/1.0\r\nHost: " + what.host + "\r\n\r\n";
  co_await conn.send_all(request, patience);
  rouse::reader in{conn};
  const std::string status(co_await in.read_line(patience));
  if (status.find(" 200") == status.npos) throw std::runtime_error(status);
  long long left = -1;
  for (;;) {
    const std::string_view line = co_await in.read_line(patience);
    if (line == "\r\n" || line.empty()) break;
    if (const long long length = length_in(line); length >= 0) left = length;
  }
  while (left != 0) {
    const std::size_t most = left > 0 && left < 4096 ? static_cast<std::size_t>(left) : 4096;
    const std::string_view piece = co_await in.read_exactly(most, patience);
    if (piece.empty()) break;
    std::cout << piece;
    if (left > 0) left -= static_cast<long long>(piece.size());
  }
  if (left > 0) throw std::runtime_error("the page is shorter than announced");
  conn.close();
}

rouse::task<> get(rouse::coroutines& sched, const url& what, const char* roots) {
  if (what.scheme == "http") {
    co_await fetch(co_await rouse::connect(sched, what.host, what.port, patience), what);
    co_return;
  }
  if (what.scheme != "https") throw std::runtime_error("neither http nor https");
  rouse::tls::client_context web;
  if (roots) web.trust_file(roots);
  co_await fetch(co_await rouse::tls::connect(sched, web, what.host, what.port, patience), what);
}

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: https_get URL [ROOTS]\n";
    return 2;
  }
  try {
    const url what{argv[1]};
    rouse::coroutines sched;
    sched.spawn(get(sched, what, argc > 2 ? argv[2] : nullptr));
    sched.run();
    std::cout.flush();
  } catch (const std::exception& e) {
    std::cerr << "https_get: " << e.what() << '\n';
    return 1;
  }
}
