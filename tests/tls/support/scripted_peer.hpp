// The other side of a TLS connection, in the hands of a test: an SSL object between two pieces of
// memory, and a plain socket. The test decides which bytes of it arrive when.
#pragma once
#include <tls/support/tls_testing.hpp>

#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace testing {

enum class role { client, server };

template <class S>
class scripted_peer {
public:
  /// @param version  TLS1_2_VERSION or TLS1_3_VERSION.
  scripted_peer(S& sched, rouse::socket<S> plain, role is, int version = TLS1_3_VERSION)
      : sched_(&sched), plain_(std::move(plain)) {
    ssl_.reset(SSL_new(shared_context(is, version)));
    SSL_set_bio(ssl(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    if (is == role::server)
      SSL_set_accept_state(ssl());
    else
      SSL_set_connect_state(ssl());
  }

  [[nodiscard]] SSL* ssl() const { return ssl_.get(); }
  [[nodiscard]] rouse::socket<S>& plain() { return plain_; }

  /// What it has to deliver, and how many bytes it had delivered before.
  std::string outgoing;
  std::size_t delivered = 0;
  /// How many bytes it had written in all when its handshake was complete; 0 before.
  std::size_t handshake_end = 0;
  /// What it has received, and whether that has ended properly, and the socket's end.
  std::string text;
  bool goodbye = false, ended = false;
  bool reads = true;

  [[nodiscard]] std::size_t written() const { return delivered + outgoing.size(); }

  /// Takes what has arrived, and answers into `outgoing`.
  void turn() {
    sched_->poll();
    std::array<char, 4096> room;
    while (reads && !ended) {
      std::error_code ec;
      const std::size_t n = plain_.try_recv(room, ec);
      if (ec == std::errc::operation_would_block) break;
      if (n == 0) ended = true;
      BIO_write(SSL_get_rbio(ssl()), room.data(), static_cast<int>(n));
    }
    ERR_clear_error();
    if (handshake_end == 0 && SSL_do_handshake(ssl()) == 1) {
      collect();
      handshake_end = written();
    }
    int n = 0;
    while (handshake_end != 0 &&
           (n = SSL_read(ssl(), room.data(), static_cast<int>(room.size()))) > 0)
      text.append(room.data(), static_cast<std::size_t>(n));
    if (n <= 0 && SSL_get_error(ssl(), n) == SSL_ERROR_ZERO_RETURN) goodbye = true;
    ERR_clear_error();
    collect();
  }
  /// Encrypts bytes, which are then outgoing.
  void write(std::string_view bytes) {
    ERR_clear_error();
    CHECK(SSL_write(ssl(), bytes.data(), static_cast<int>(bytes.size())) > 0);
    collect();
  }
  void write_goodbye() {
    SSL_shutdown(ssl());
    collect();
  }
  /// Delivers up to n of the outgoing bytes, as many as the kernel takes. Returns their number.
  std::size_t deliver(std::size_t n = std::string::npos) {
    std::error_code ec;
    std::size_t all = 0;
    while (n != 0 && !outgoing.empty()) {
      const std::size_t part = plain_.try_send(std::string_view(outgoing).substr(0, n), ec);
      if (ec) break;
      outgoing.erase(0, part);
      delivered += part;
      all += part;
      n -= part;
    }
    sched_->poll();
    return all;
  }
  /// Ends the stream without a close_notify, and goes on reading.
  void cut() {
    std::error_code ec;
    plain_.shutdown(rouse::shutdown_send, ec);
  }

private:
  // A context takes as long to make as a handshake, and the tests make thousands of peers.
  static SSL_CTX* shared_context(role is, int version) {
    static std::map<std::pair<role, int>, tls::detail::ssl_ctx_ptr> all;
    auto& made = all[{is, version}];
    if (!made) made = make_context(is, version);
    return made.get();
  }
  static tls::detail::ssl_ctx_ptr make_context(role is, int version) {
    tls::detail::ssl_ctx_ptr made(SSL_CTX_new(TLS_method()));
    SSL_CTX_set_min_proto_version(made.get(), version);
    SSL_CTX_set_max_proto_version(made.get(), version);
    SSL_CTX_set_num_tickets(made.get(), 0); // so that a handshake ends with its last message
    if (is == role::server) {
      const std::string chain = certificate("good.pem"), key = certificate("good.key");
      REQUIRE(SSL_CTX_use_certificate_file(made.get(), chain.c_str(), SSL_FILETYPE_PEM) == 1);
      REQUIRE(SSL_CTX_use_PrivateKey_file(made.get(), key.c_str(), SSL_FILETYPE_PEM) == 1);
    }
    return made;
  }

  void collect() {
    char* bytes = nullptr;
    const long n = BIO_get_mem_data(SSL_get_wbio(ssl()), &bytes);
    outgoing.append(bytes, static_cast<std::size_t>(n));
    (void)BIO_reset(SSL_get_wbio(ssl()));
  }

  S* sched_;
  rouse::socket<S> plain_;
  tls::detail::ssl_ptr ssl_;
};

/// A TLS socket of rouse with a peer that a test scripts. `is`: what the peer is.
template <class S>
struct scripted_connection {
  S sched;
  role peer_is;
  tls::server_context site;
  tls::client_context web;
  std::pair<rouse::socket<S>, rouse::socket<S>> ends = rouse::socket_pair(sched);
  scripted_peer<S> peer;
  tls::socket<S> socket;

  explicit scripted_connection(role is, int version = TLS1_3_VERSION)
      : peer_is(is), site(shared_site()), web(shared_web()),
        peer(sched, std::move(ends.second), is, version) {}

  /// Starts rouse's side of the handshake.
  started<S, tls::socket<S>> shake(rouse::limit l) {
    if (peer_is == role::client)
      return start<tls::socket<S>>(sched, [this, l](auto&&... how) -> decltype(auto) {
        return tls::accept(site, std::move(ends.first), l, how...);
      });
    return start<tls::socket<S>>(sched, [this, l](auto&&... how) -> decltype(auto) {
      return tls::handshake(web, std::move(ends.first), "localhost", l, how...);
    });
  }
  /// Takes turns until the peer has done its part of the handshake and rouse's has returned.
  void connect() {
    auto shaking = shake(30s);
    exchange([&] { return shaking.finished() && peer.handshake_end != 0; });
    REQUIRE(!shaking.wait().ec);
    socket = std::move(shaking.wait().value);
  }
  /// Takes turns, each of which delivers up to `piece` bytes, until `holds()`.
  template <class Condition>
  void exchange(Condition holds, std::size_t piece = std::string::npos) {
    run_until(sched, [&] {
      peer.turn();
      peer.deliver(piece);
      return holds();
    });
  }
};

} // namespace testing
