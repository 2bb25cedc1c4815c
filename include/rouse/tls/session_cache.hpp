// Sessions that a client may take up again.
#pragma once
#include <rouse/config.hpp>
#include <rouse/tls/openssl.hpp>

#include <openssl/ssl.h>

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace rouse { inline namespace ROUSE_ABI { namespace tls {

class session_cache;

namespace detail {

/// What the copies of a `session_cache` and the contexts that use it share.
class session_store {
public:
  explicit session_store(std::size_t peers) noexcept : most_peers_(peers) {}
  session_store(const session_store&) = delete;
  session_store& operator=(const session_store&) = delete;

  void put(std::string peer, session_ptr session) {
    const std::lock_guard lock(mutex_);
    const auto known = by_name_.find(peer);
    if (known != by_name_.end()) {
      peers_.splice(peers_.begin(), peers_, known->second);
    } else {
      peer_list added; // whatever throws, no peer is without sessions
      added.emplace_front(std::move(peer), sessions());
      added.front().second.reserve(1);
      by_name_.emplace(added.front().first, added.begin());
      peers_.splice(peers_.begin(), added);
    }
    sessions& of_peer = peers_.front().second;
    if (!single_use(session.get())) of_peer.clear();
    if (of_peer.size() == most_per_peer) of_peer.erase(of_peer.begin());
    of_peer.push_back(std::move(session));
    if (peers_.size() > most_peers_) forget(std::prev(peers_.end()));
  }

  /// Null: there is none. A ticket of TLS 1.3 is taken out; a session of TLS 1.2 is copied, since
  /// OpenSSL may write to the one that a connection uses.
  session_ptr take(std::string_view peer) {
    const std::lock_guard lock(mutex_);
    const auto known = by_name_.find(peer);
    if (known == by_name_.end()) return nullptr;
    sessions& of_peer = known->second->second;
    if (!single_use(of_peer.back().get()))
      return session_ptr(SSL_SESSION_dup(of_peer.back().get()));
    session_ptr newest = std::move(of_peer.back());
    of_peer.pop_back();
    if (of_peer.empty()) forget(known->second);
    return newest;
  }

  [[nodiscard]] std::size_t size() const noexcept {
    const std::lock_guard lock(mutex_);
    std::size_t all = 0;
    for (const auto& peer : peers_) all += peer.second.size();
    return all;
  }

private:
  using sessions = std::vector<session_ptr>; // the newest one last
  using peer_list = std::list<std::pair<const std::string, sessions>>;
  static constexpr std::size_t most_per_peer = 4;

  static bool single_use(const SSL_SESSION* s) noexcept {
    return SSL_SESSION_get_protocol_version(s) == TLS1_3_VERSION;
  }
  void forget(peer_list::iterator peer) {
    by_name_.erase(peer->first);
    peers_.erase(peer);
  }

  mutable std::mutex mutex_;
  const std::size_t most_peers_;
  peer_list peers_; // the most recently added to first; none is without sessions
  std::unordered_map<std::string_view, peer_list::iterator> by_name_;
};

} // namespace detail

/// Sessions that clients keep for later connections to the same name. Such a connection skips the
/// certificates, and costs a fraction of a full handshake. See `client_context::sessions`.
///
///     rouse::tls::session_cache kept;
///     web.sessions(kept);
///
/// A ticket of TLS 1.3 is used once, so that connections cannot be linked by it; a session of
/// TLS 1.2 may be used by several connections.
///
/// Copies share the sessions, and so do the contexts that use them: they stay as long as one of
/// these does. Threads: any. Cost: some KiB for each session.
class session_cache {
public:
  /// @param peers  at most so many names, with up to four sessions each. Sessions of the name that
  /// got none for the longest time give way.
  explicit session_cache(std::size_t peers = 256)
      : store_(std::make_shared<detail::session_store>(peers)) {}

  /// The sessions that there are.
  [[nodiscard]] std::size_t size() const noexcept { return store_->size(); }

private:
  friend class client_context;
  std::shared_ptr<detail::session_store> store_;
};

}}} // namespace rouse::ROUSE_ABI::tls
