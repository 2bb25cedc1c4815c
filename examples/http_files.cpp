// A web server for the files of a folder (HTTP/1.1, GET and HEAD):
// `http_files [PORT [FOLDER [CHAIN KEY]]]`.
//
// Each connection has a coroutine, which serves its requests one after the other, even if several
// arrive at once. The kernel sends the files. After Ctrl-C, running transfers have one second to
// end.
//
// With the files of a certificate (PEM: the chain, the key), and compiled with WITH_TLS, it is an
// HTTPS server: the same template serves TLS sockets. These have no send_file.
#include <rouse/rouse.hpp>
#if defined(WITH_TLS)
#include <rouse/tls.hpp>
#endif

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#if defined(_WIN32)
#include <io.h>
#endif

using namespace std::chrono_literals;
namespace fs = std::filesystem;
using scheduler = rouse::coroutines;

constexpr auto patience = 30s; // for a request, and for each MiB sent
constexpr std::uint64_t piece = 1 << 20;
constexpr std::size_t longest_head = 8192;

using open_file = std::unique_ptr<std::FILE, decltype([](std::FILE* f) { std::fclose(f); })>;
#if defined(_WIN32)
open_file open(const fs::path& path) { return open_file(_wfopen(path.c_str(), L"rb")); }
rouse::native_file_type native(const open_file& f) {
  return reinterpret_cast<rouse::native_file_type>(_get_osfhandle(_fileno(f.get())));
}
#else
open_file open(const fs::path& path) { return open_file(std::fopen(path.c_str(), "rb")); }
rouse::native_file_type native(const open_file& f) { return fileno(f.get()); }
#endif

// Removes the text up to a delimiter, and the delimiter, from the front of `text`; returns the
// former.
std::string_view cut(std::string_view& text, std::string_view delimiter) {
  const std::string_view front = text.substr(0, text.find(delimiter));
  text.remove_prefix(std::min(text.size(), front.size() + delimiter.size()));
  return front;
}

struct request { // RFC 9112
  std::string_view method, target;
  bool sound, keep_alive, has_body = false;

  explicit request(std::string_view head) {
    std::string_view line = cut(head, "\r\n");
    method = cut(line, " ");
    target = cut(line, " ");
    keep_alive = line == "HTTP/1.1";
    sound = line.starts_with("HTTP/1.") && target.starts_with('/');
    int hosts_wanted = keep_alive ? 1 : 0;
    while (!(line = cut(head, "\r\n")).empty()) {
      std::string field(line);
      for (char& c : field) c = 'A' <= c && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      std::string_view value = field;
      const std::string_view name = cut(value, ":");
      if (name.size() == field.size() || name.find_first_of(" \t") != name.npos) sound = false;
      if (name == "host") --hosts_wanted;
      if (name == "connection" && value.find("close") != value.npos) keep_alive = false;
      if (name == "content-length" && value.find_first_not_of(" \t0") != value.npos)
        has_body = true;
      if (name == "transfer-encoding") has_body = true;
    }
    if (hosts_wanted > 0) sound = false;
  }
};

// The file that a target names, or the HTTP status if it names none.
int locate(std::string_view target, fs::path& path) try {
  target = target.substr(0, target.find_first_of("?#"));
  std::u8string name;
  for (std::size_t i = 1; i < target.size(); ++i) { // RFC 3986: %XX is a byte
    unsigned char c = static_cast<unsigned char>(target[i]);
    if (c == '%') {
      const std::string_view digits = target.substr(i + 1, 2);
      const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), c, 16).ptr;
      if (digits.size() != 2 || end != digits.data() + 2) return 400;
      i += 2;
    }
    if (c == 0) return 400;
    name += static_cast<char8_t>(c);
  }
  const fs::path relative(name);
  if (relative.has_root_path()) return 403; // "//etc/passwd", "C:"
  for (const fs::path& part : relative) {
    if (part.native().starts_with('.')) return 403; // parent folders and hidden files
  }
  std::error_code ec;
  path /= relative;
  if (fs::is_directory(path, ec)) path /= "index.html";
  return fs::is_regular_file(path, ec) ? 200 : 404;
} catch (const std::system_error&) {
  return 400; // not UTF-8, which Windows' paths are made from
}

std::string_view type_of(const fs::path& path) {
  constexpr std::pair<std::string_view, std::string_view> types[] = {
      {".html", "text/html; charset=utf-8"},
      {".txt", "text/plain; charset=utf-8"},
      {".css", "text/css"},
      {".js", "text/javascript"},
      {".json", "application/json"},
      {".svg", "image/svg+xml"},
      {".png", "image/png"},
      {".jpg", "image/jpeg"}};
  for (const auto& [suffix, type] : types) {
    if (path.extension() == suffix) return type;
  }
  return "application/octet-stream";
}

std::string_view reason_of(int status) {
  return status == 200   ? "200 OK"
         : status == 400 ? "400 Bad Request"
         : status == 403 ? "403 Forbidden"
         : status == 404 ? "404 Not Found"
         : status == 405 ? "405 Method Not Allowed"
                         : "431 Request Header Fields Too Large";
}

std::string head_of(int status, std::string_view type, std::uint64_t size, bool keep_alive) {
  char date[64];
  const std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", std::gmtime(&now));
  std::string head = "HTTP/1.1 " + std::string(reason_of(status)) + "\r\nDate: " + date +
                     "\r\nContent-Type: " + std::string(type) +
                     "\r\nContent-Length: " + std::to_string(size);
  if (status == 405) head += "\r\nAllow: GET, HEAD";
  if (!keep_alive) head += "\r\nConnection: close";
  return head += "\r\n\r\n";
}

rouse::socket<scheduler>& transport_of(rouse::socket<scheduler>& s) { return s; }
template <rouse::byte_stream Stream>
rouse::socket<scheduler>& transport_of(Stream& s) {
  return s.transport();
}

// Sends part of a file, at most a piece. @returns the number of bytes.
rouse::task<std::uint64_t> send_part(rouse::socket<scheduler>& conn, const open_file& file,
                                     std::uint64_t at, std::uint64_t size) {
  co_return co_await conn.send_file(native(file), at, std::min(size, piece), patience);
}
template <rouse::byte_stream Stream>
rouse::task<std::uint64_t> send_part(Stream& conn, const open_file& file, std::uint64_t,
                                     std::uint64_t size) {
  std::array<char, 65536> bytes;
  const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(size, bytes.size()));
  const std::size_t n = std::fread(bytes.data(), 1, wanted, file.get());
  if (n != 0) co_await conn.send_all({bytes.data(), n}, patience);
  co_return n;
}

template <rouse::byte_stream Stream>
rouse::task<> answer_all(Stream conn, const fs::path& folder) {
  transport_of(conn).set_option(rouse::tcp_no_delay{true}); // sends the head at once
  rouse::reader in{conn, longest_head};
  std::error_code ec;
  for (bool again = true; again;) {
    const std::string_view received = co_await in.read_until("\r\n\r\n", patience, ec);
    const bool too_long = ec == std::errc::message_size;
    if (!too_long && !received.ends_with("\r\n\r\n")) co_return; // the client left, or timed out

    const request asked(received);
    const bool with_body = asked.method != "HEAD";
    fs::path path = folder;
    int status = too_long                             ? 431
                 : !asked.sound                       ? 400
                 : with_body && asked.method != "GET" ? 405
                 : asked.has_body                     ? 400
                                                      : locate(asked.target, path);
    const open_file file = status == 200 ? open(path) : nullptr;
    if (status == 200 && !file) status = 403;
    again = asked.keep_alive && !asked.has_body && status != 400;

    const std::uint64_t size = file ? fs::file_size(path) : reason_of(status).size();
    std::string head = head_of(status, file ? type_of(path) : "text/plain", size, again);
    if (!file && with_body) head += reason_of(status);
    co_await conn.send_all(head, patience);
    for (std::uint64_t at = 0; file && with_body && at != size;) {
      const auto sent = co_await send_part(conn, file, at, size - at);
      if (sent == 0) co_return; // the file is shorter than announced
      at += sent;
    }
  }
  // A close before the peer's bytes are read would reset the connection and lose the response.
  conn.shutdown(rouse::shutdown_send);
  std::array<char, 4096> rest;
  const auto end = rouse::clock::now() + 2s;
  while (rouse::clock::now() < end && co_await conn.recv(rest, end, ec)) {
  }
}

void report(std::exception_ptr thrown, const rouse::endpoint& peer) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& e) {
    std::clog << peer << ": " << e.what() << '\n';
  }
}

// Serves connections of the listener until Ctrl-C; `site...` is a tls::server_context, or nothing.
template <class Socket, class... Site>
void run(scheduler& sched, rouse::socket<scheduler> listener, const fs::path& folder,
         const Site&... site) {
  auto service = rouse::serve(
      sched, std::move(listener), site...,
      [&](Socket conn) { return answer_all(std::move(conn), folder); }, {.connections = 1000},
      report);
  rouse::signals interrupted{sched, {SIGINT, SIGTERM}};
  sched.spawn([&]() -> rouse::task<> {
    co_await interrupted.wait();
    service.stop(1s);
    co_await service.join();
  });
  sched.run();
}

int main(int argc, char** argv) {
  const auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0);
  const fs::path folder = argc > 2 ? argv[2] : ".";
  scheduler sched;
  rouse::socket listener{sched};
  listener.bind({"127.0.0.1", port});
  listener.listen();
  std::cout << "listening on 127.0.0.1:" << listener.local_endpoint().port()
            << ", engine: " << sched.engine_report() << std::endl;
  if (argc > 4) {
#if defined(WITH_TLS)
    rouse::tls::server_context site{argv[3], argv[4]};
    site.alpn({"http/1.1"});
    run<rouse::tls::socket<scheduler>>(sched, std::move(listener), folder, site);
    return 0;
#else
    std::cerr << "http_files: compiled without TLS\n";
    return 2;
#endif
  }
  run<rouse::socket<scheduler>>(sched, std::move(listener), folder);
}
