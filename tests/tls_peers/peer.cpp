// One side of TLS connections; the other side is another implementation: see run.py.
//
//   peer SCHEDULER server|client NAME=VALUE...
//
// A server prints its port and its engine. Each connection prints a line when the handshake is
// done, "exchanged" after each exchange, and a line for its end: "end" (the peer said goodbye),
// "cut" (we just left), "truncated", "refused: REASON" (the handshake failed) or "error: REASON".
//
//   port     to connect to
//   count    connections: all at once for a server, one after the other for a client; 1
//   certificate, key, roots, clients (roots of their certificates), alpn (a name, or two with ",")
//   name     that the server must prove
//   do       exchange, echo, or http: one answer
//   send, expect  texts of an exchange, which go both ways at the same time
//   times    that the text is sent, in one call; 1
//   bytes    send and expect so many instead
//   rounds   exchanges, each after the first one with new keys (TLS 1.3)
//   ending   first: say goodbye, then wait for the peer's; last: the other way round; cut: neither
#include <rouse/rouse.hpp>
#include <rouse/tls.hpp>

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

namespace {

namespace tls = rouse::tls;

void say(std::string line) {
  line += '\n';
  std::fputs(line.c_str(), stdout);
  std::fflush(stdout);
}

std::string pattern(std::size_t size) {
  std::string made(size, '\0');
  std::uint32_t seed = 1;
  for (char& c : made) c = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
  return made;
}

/// What the arguments say.
class script {
public:
  script(int argc, char** argv) {
    for (int i = 3; i < argc; ++i) {
      const std::string_view argument = argv[i];
      const auto middle = argument.find('=');
      if (middle == argument.npos) std::exit(2);
      values_[std::string(argument.substr(0, middle))] = argument.substr(middle + 1);
    }
    what = text("do");
    ending = text("ending");
    name = text("name");
    count = number("count", 1);
    rounds = number("rounds", 1);
    sent = number("bytes", 0) ? pattern(number("bytes", 0)) : text("send");
    if (const std::size_t once = sent.size())
      for (std::size_t n = number("times", 1); n > 1; --n) sent.append(sent, 0, once);
    expected = number("bytes", 0) ? sent : text("expect");
    set_up(site);
    set_up(web);
    if (!text("roots").empty()) web.trust_file(text("roots"));
    if (!text("clients").empty()) site.verify_clients(text("clients"));
    web.sessions(kept);
  }

  [[nodiscard]] std::uint16_t port() const {
    return static_cast<std::uint16_t>(number("port", 0));
  }

  std::string what, ending, name, sent, expected;
  std::size_t count, rounds;
  tls::server_context site;
  tls::client_context web;

private:
  [[nodiscard]] std::string text(const std::string& key) const {
    const auto found = values_.find(key);
    return found == values_.end() ? "" : found->second;
  }
  [[nodiscard]] std::size_t number(const std::string& key, std::size_t otherwise) const {
    const std::string digits = text(key);
    std::from_chars(digits.data(), digits.data() + digits.size(), otherwise);
    return otherwise;
  }
  template <class Context>
  void set_up(Context& c) const {
    if (!text("certificate").empty()) c.certificate(text("certificate"), text("key"));
    const std::string names = text("alpn");
    const auto middle = names.find(',');
    if (middle != names.npos)
      c.alpn({names.substr(0, middle), names.substr(middle + 1)});
    else if (!names.empty())
      c.alpn({names});
  }

  std::map<std::string, std::string> values_;
  tls::session_cache kept;
};

constexpr std::string_view answer = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n"
                                    "Connection: close\r\n\r\nhello, curl\n";

/// The line for a handshake.
template <class S>
std::string agreed(const tls::socket<S>& conn) {
  std::string line = "shaken " + std::string(conn.version()) + " alpn=" + std::string(conn.alpn());
  line.append(conn.resumed() ? " resumed" : " new").append(" name=").append(conn.server_name());
  std::array<char, 64> subject{};
  if (X509* const peer = conn.peer_certificate())
    X509_NAME_get_text_by_NID(X509_get_subject_name(peer), NID_commonName, subject.data(),
                              static_cast<int>(subject.size()));
  return line + " peer=" + subject.data();
}

/// The line for a connection that failed.
std::string reason(std::error_code ec, bool shaken) {
  if (!shaken) return "refused: " + ec.message();
  return ec == tls::error::truncated ? "truncated" : "error: " + ec.message();
}

template <class S>
void new_keys(tls::socket<S>& conn) {
  if (SSL_key_update(conn.native_handle(), SSL_KEY_UPDATE_REQUESTED) != 1) say("no new keys");
}

template <class S>
rouse::socket<S> listening(S& sched) {
  rouse::socket listener{sched};
  listener.bind({"127.0.0.1", 0});
  listener.listen();
  say(std::to_string(listener.local_endpoint().port()) + ' ' + sched.engine_report());
  return listener;
}

// ---- coroutines, fibers and threads

template <class S>
rouse::task<> exchange(S& sched, tls::socket<S>& conn, const script& with) {
  for (std::size_t round = 0; round != with.rounds; ++round) {
    if (round != 0) new_keys(conn);
    std::string got(with.expected.size(), '\0');
    std::error_code failed;
    rouse::flow_group sending{sched};
    sending.spawn([&]() -> rouse::task<> { co_await conn.send_all(with.sent, failed); });
    if (!got.empty()) co_await conn.recv_exactly(got);
    co_await sending.join(); // if both calls fail, recv_exactly tells why
    if (failed) throw std::system_error(failed);
    say(got == with.expected ? "exchanged" : "different bytes");
  }
}

template <class S>
rouse::task<> talk(S& sched, tls::socket<S>& conn, const script& with) {
  std::array<char, 20000> buf;
  if (with.what == "exchange") {
    co_await exchange(sched, conn, with);
    if (with.ending == "cut") co_return say("cut");
    if (with.ending == "first") conn.shutdown(rouse::shutdown_send);
    if (co_await conn.recv(buf) != 0) say("too many bytes");
  } else {
    while (const auto n = co_await conn.recv(buf)) {
      if (with.what == "http") {
        co_await conn.send_all(answer);
        break;
      }
      co_await conn.send_all({buf.data(), n});
    }
  }
  say("end");
  conn.close();
}

// `Shake` makes the handshake: a call.
template <class S, class Shake>
rouse::task<> run(S& sched, Shake shake, const script& with) {
  bool shaken = false;
  try {
    tls::socket<S> conn = co_await shake();
    shaken = true;
    say(agreed(conn));
    co_await talk(sched, conn, with);
  } catch (const std::system_error& e) {
    say(reason(e.code(), shaken));
  }
}

template <class S>
rouse::task<> serve_one(S& sched, rouse::socket<S> plain, const script& with) {
  auto shake = [&]() -> decltype(auto) { return tls::accept(with.site, std::move(plain)); };
  co_await run(sched, shake, with);
}
template <class S>
rouse::task<> serve_all(S& sched, rouse::socket<S> listener, const script& with) {
  for (std::size_t i = 0; i != with.count; ++i)
    sched.spawn(serve_one(sched, co_await listener.accept(), with));
}
template <class S>
rouse::task<> ask_all(S& sched, const script& with) {
  for (std::size_t i = 0; i != with.count; ++i) {
    rouse::socket plain{sched};
    co_await plain.connect({"127.0.0.1", with.port()});
    auto shake = [&]() -> decltype(auto) {
      return tls::handshake(with.web, std::move(plain), with.name);
    };
    co_await run(sched, shake, with);
  }
}

template <class S>
void serve(S& sched, const script& with) {
  sched.spawn(serve_all(sched, listening(sched), with));
  sched.run();
}
template <class S>
void ask(S& sched, const script& with) {
  sched.spawn(ask_all(sched, with));
  sched.run();
}

// ---- callbacks

using rouse::callbacks;

class session : public std::enable_shared_from_this<session> {
  // A handler that continues with `next` unless the call has failed.
  template <class Next>
  auto then(Next next) {
    return [s = shared_from_this(), next](std::error_code ec, std::size_t n) {
      if (ec)
        s->end(reason(ec, true));
      else
        next(*s, n);
    };
  }
  auto shaken() {
    return [s = shared_from_this()](std::error_code ec, tls::socket<callbacks> conn) {
      if (ec) return s->end(reason(ec, false));
      s->conn_ = std::move(conn);
      say(agreed(s->conn_));
      if (s->with_.what == "exchange")
        s->exchange();
      else
        s->echo();
    };
  }

public:
  session(const script& with, std::function<void()> at_end)
      : with_(with), at_end_(std::move(at_end)) {}

  void accept(rouse::socket<callbacks> plain) {
    tls::accept(with_.site, std::move(plain), shaken());
  }
  void connect(callbacks& sched) {
    plain_ = rouse::socket{sched};
    plain_.connect({"127.0.0.1", with_.port()}, [s = shared_from_this()](std::error_code ec) {
      if (ec) return s->end(reason(ec, false));
      tls::handshake(s->with_.web, std::move(s->plain_), s->with_.name, s->shaken());
    });
  }

private:
  void exchange() {
    got_.assign(with_.expected.size(), '\0');
    left_ = got_.empty() ? 1 : 2;
    conn_.send_all(with_.sent, [s = shared_from_this()](std::error_code ec, std::size_t) {
      s->failed_ = ec;
      s->one_done();
    });
    if (!got_.empty())
      conn_.recv_exactly(got_, then([](session& s, std::size_t) { s.one_done(); }));
  }
  void one_done() {
    if (--left_ != 0) return;
    if (failed_) return end(reason(failed_, true));
    say(got_ == with_.expected ? "exchanged" : "different bytes");
    if (++rounds_ != with_.rounds) {
      new_keys(conn_);
      return exchange();
    }
    if (with_.ending == "cut") {
      conn_ = {};
      return end("cut");
    }
    if (with_.ending == "first") conn_.shutdown(rouse::shutdown_send);
    conn_.recv(buf_, then([](session& s, std::size_t n) {
                 if (n != 0) say("too many bytes");
                 s.end("end");
               }));
  }

  void echo() {
    conn_.recv(buf_, then([](session& s, std::size_t n) {
                 if (n == 0) return s.end("end");
                 const bool http = s.with_.what == "http";
                 const std::string_view reply =
                     http ? answer : std::string_view(s.buf_.data(), n);
                 s.conn_.send_all(reply, s.then([http](session& t, std::size_t) {
                   if (http) return t.end("end");
                   t.echo();
                 }));
               }));
  }

  void end(const std::string& line) {
    if (std::exchange(ended_, true)) return;
    say(line);
    if (line == "end") conn_.close();
    conn_.cancel();
    at_end_();
  }

  const script& with_;
  std::function<void()> at_end_;
  rouse::socket<callbacks> plain_;
  tls::socket<callbacks> conn_;
  std::array<char, 20000> buf_{};
  std::string got_;
  int left_ = 0; // calls of this exchange
  std::error_code failed_; // of its send_all; if the other call fails too, that tells why
  std::size_t rounds_ = 0;
  bool ended_ = false;
};

void accept(rouse::socket<callbacks>& listener, const script& with, std::size_t left) {
  if (left == 0) return;
  listener.accept([&, left](std::error_code ec, rouse::socket<callbacks> plain) {
    if (ec) return say("error: " + ec.message());
    std::make_shared<session>(with, [] {})->accept(std::move(plain));
    accept(listener, with, left - 1);
  });
}
void serve(callbacks& sched, const script& with) {
  auto listener = listening(sched);
  accept(listener, with, with.count);
  sched.run();
}

void ask_rest(callbacks& sched, const script& with, std::size_t left) {
  if (left == 0) return;
  auto next = [&, left] { ask_rest(sched, with, left - 1); };
  std::make_shared<session>(with, next)->connect(sched);
}
void ask(callbacks& sched, const script& with) {
  ask_rest(sched, with, with.count);
  sched.run();
}

template <class S>
int run(std::string_view role, const script& with) {
  S sched;
  if (role == "server") return serve(sched, with), 0;
  if (role == "client") return ask(sched, with), 0;
  return 2;
}

} // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::string_view scheduler = argv[1], role = argv[2];
  const script with(argc, argv);
  if (scheduler == "coroutines") return run<rouse::coroutines>(role, with);
  if (scheduler == "fibers") return run<rouse::fibers>(role, with);
  if (scheduler == "threads") return run<rouse::threads>(role, with);
  if (scheduler == "callbacks") return run<rouse::callbacks>(role, with);
  return 2;
}
