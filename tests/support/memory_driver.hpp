// A network in memory: a driver without system calls, for stream sockets of one thread. It shows
// all that a driver has to do, and lets the tests of streams run without a kernel.
//
// A wait in which nothing can happen advances the time (rouse::clock) to the wait's end.
#pragma once
#include <rouse/rouse.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace testing {

/// One end of a connection, or a listener. Its index is the native handle.
struct memory_socket {
  static constexpr std::size_t room = std::size_t{64} << 10; // capacity of `inbox`
  rouse::endpoint local, remote;
  memory_socket* peer = nullptr; // null: not connected, or the peer has closed
  std::string inbox;
  bool connected = false, listening = false;
  bool ended = false; // the peer has shut down sending
  bool shut = false; // this end has shut down sending
  std::deque<rouse::native_handle_type> backlog;
};

/// The open sockets of this thread.
inline std::vector<std::unique_ptr<memory_socket>>& memory_sockets() {
  static thread_local std::vector<std::unique_ptr<memory_socket>> all;
  return all;
}
inline memory_socket& memory_socket_of(rouse::native_handle_type h) {
  return *memory_sockets()[static_cast<std::size_t>(h)];
}

/// The calls that do not wait.
struct memory_network {
  using handle = rouse::native_handle_type;
  using failure = rouse::failure;

  static failure open(int, int type, int, bool, handle& out) noexcept {
    if (type != SOCK_STREAM) return std::errc::operation_not_supported;
    auto& all = memory_sockets();
    out = static_cast<handle>(all.size());
    all.push_back(std::make_unique<memory_socket>());
    return {};
  }
  static failure open_pair(int type, handle (&out)[2]) noexcept {
    for (handle& h : out)
      if (const failure why = open(AF_UNIX, type, 0, true, h)) return why;
    join(memory_socket_of(out[0]), memory_socket_of(out[1]));
    return {};
  }
  static void close(handle h) noexcept {
    memory_socket& s = memory_socket_of(h);
    if (s.peer) {
      s.peer->ended = true;
      s.peer->peer = nullptr;
    }
    for (const handle waiting : s.backlog) close(waiting);
    memory_sockets()[static_cast<std::size_t>(h)].reset();
  }
  static void close_copy(handle) noexcept {}
  static failure set_blocking(handle, bool) noexcept { return {}; }
  static failure describe(handle, int& family, int& type) noexcept {
    family = AF_INET;
    type = SOCK_STREAM;
    return {};
  }
  static bool must_connect(int) noexcept { return true; }
  static failure explain(const rouse::socket_state&, bool, failure error) noexcept { return error; }

  static failure bind(handle h, const rouse::endpoint& local, bool) noexcept {
    static thread_local std::uint16_t port = 1024;
    memory_socket_of(h).local = local;
    if (local.port() == 0) memory_socket_of(h).local = {local.address(), ++port};
    return {};
  }
  static failure listen(handle h, int, int) noexcept {
    memory_socket_of(h).listening = true;
    return {};
  }
  static failure shutdown(handle h, int how) noexcept {
    memory_socket& s = memory_socket_of(h);
    if (!s.connected) return std::errc::not_connected;
    if (how != rouse::os::shutdown_recv) s.shut = true;
    if (how != rouse::os::shutdown_recv && s.peer) s.peer->ended = true;
    if (how != rouse::os::shutdown_send) s.ended = true;
    return {};
  }
  static failure local_endpoint(handle h, rouse::endpoint& out) noexcept {
    out = memory_socket_of(h).local;
    return {};
  }
  static failure remote_endpoint(handle h, rouse::endpoint& out) noexcept {
    out = memory_socket_of(h).remote;
    return memory_socket_of(h).connected ? failure() : failure(std::errc::not_connected);
  }
  static failure set_option(handle, int, int, const void*, std::size_t) noexcept { return {}; }
  static failure get_option(handle, int, int, void* value, std::size_t& size) noexcept {
    std::memset(value, 0, size);
    return {};
  }

  // True if done, false if the call would have to wait.
  static bool recv_now(handle h, int, void* data, std::size_t size, std::size_t& bytes,
                       failure& error) noexcept {
    memory_socket& s = memory_socket_of(h);
    if (!s.connected) error = std::errc::not_connected;
    if (s.connected && s.inbox.empty() && !s.ended) return false;
    bytes = std::min(size, s.inbox.size());
    std::memcpy(data, s.inbox.data(), bytes);
    s.inbox.erase(0, bytes);
    return true;
  }
  static bool send_now(handle h, const void* data, std::size_t size, bool, std::size_t& bytes,
                       failure& error) noexcept {
    memory_socket& s = memory_socket_of(h);
    if (!s.connected)
      error = std::errc::not_connected;
    else if (!s.peer || s.shut)
      error = std::errc::broken_pipe;
    else if (s.peer->inbox.size() == memory_socket::room)
      return false;
    if (error) return true;
    bytes = std::min(size, memory_socket::room - s.peer->inbox.size());
    s.peer->inbox.append(static_cast<const char*>(data), bytes);
    return true;
  }
  static bool accept_now(handle h, std::intptr_t& out) noexcept {
    memory_socket& s = memory_socket_of(h);
    if (s.backlog.empty()) return false;
    out = static_cast<std::intptr_t>(s.backlog.front());
    s.backlog.pop_front();
    return true;
  }
  static failure connect_now(handle h, const rouse::endpoint& to) noexcept {
    for (const auto& one : memory_sockets()) {
      if (!one || !one->listening || one->local != to) continue;
      memory_socket& listener = *one; // `one` moves when the table grows
      handle other{};
      (void)open(AF_INET, SOCK_STREAM, 0, true, other);
      (void)bind(h, {to.address(), 0}, true);
      memory_socket& client = memory_socket_of(h);
      memory_socket& server = memory_socket_of(other);
      client.remote = server.local = to;
      server.remote = client.local;
      join(client, server);
      listener.backlog.push_back(other);
      return {};
    }
    return std::errc::connection_refused;
  }

private:
  static void join(memory_socket& a, memory_socket& b) noexcept {
    a.peer = &b;
    b.peer = &a;
    a.connected = b.connected = true;
  }
};

class memory_driver {
public:
  using operation = rouse::operation;
  using sockets = memory_network;

  rouse::failure open(rouse::detail::buffer_pool& buffers) noexcept {
    buffers_ = &buffers;
    return {};
  }
  [[nodiscard]] std::string report() const { return "memory"; }
  [[nodiscard]] bool blocking_handles() const noexcept { return true; }
  [[nodiscard]] rouse::socket_state* make_state() noexcept { return new rouse::socket_state; }
  rouse::failure attach(rouse::socket_state& s) noexcept {
    attached_.push_back(&s);
    return {};
  }
  void detach(rouse::socket_state& s, bool) noexcept { std::erase(attached_, &s); }

  bool start(operation& op) noexcept { return op.target->queue_of(op).empty() && tried(op); }
  void request_cancel(operation& op, rouse::completions& done) noexcept {
    done.add(op, std::errc::operation_canceled, 0);
  }
  template <class Lock>
  void wait(rouse::clock::time_point until, Lock& lock, rouse::completions& done) noexcept {
    while (!complete_some(done) && !woken_ && until != (rouse::clock::time_point::min)()) {
      if (until != (rouse::clock::time_point::max)()) return time_.advance_to(until);
      lock.unlock(); // only another thread's wake() can end this
      lock.lock();
    }
    if (woken_.exchange(false)) done.interrupt();
  }
  void wake() noexcept { woken_ = true; }

private:
  // True if done; the result is then in `op`.
  bool tried(operation& op) noexcept {
    const auto h = static_cast<rouse::native_handle_type>(op.target->native);
    switch (op.action) {
    case rouse::action::recv:
      return sockets::recv_now(h, 0, op.data, op.size, op.bytes, op.error);
    case rouse::action::receive:
      return rouse::detail::lend(op, *buffers_, [&] {
        return sockets::recv_now(h, 0, op.data, op.size, op.bytes, op.error);
      });
    case rouse::action::send:
      return sockets::send_now(h, op.data, op.size, false, op.bytes, op.error);
    case rouse::action::accept:
      return sockets::accept_now(h, op.handle);
    case rouse::action::connect:
      op.error = sockets::connect_now(h, *op.peer);
      op.target->unconnected = static_cast<bool>(op.error);
      return true;
    case rouse::action::when_readable:
    case rouse::action::when_writable:
      if (op.retry->run) return op.retry->run(op);
      [[fallthrough]];
    default:
      op.error = std::errc::operation_not_supported;
      return true;
    }
  }
  // Whether anything has completed.
  bool complete_some(rouse::completions& done) noexcept {
    bool any = false;
    for (rouse::socket_state* s : attached_) {
      for (auto* queue : {&s->outbound, &s->inbound}) {
        for (; !queue->empty() && tried(queue->front()); any = true) {
          operation& op = queue->front();
          done.add(op, op.error, op.bytes);
        }
      }
    }
    return any;
  }

  rouse::clock::replacement time_{rouse::clock::now()};
  rouse::detail::buffer_pool* buffers_ = nullptr;
  std::vector<rouse::socket_state*> attached_;
  std::atomic<bool> woken_{false};
};

static_assert(rouse::driver<memory_driver>);

} // namespace testing
