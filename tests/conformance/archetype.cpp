// A driver that has exactly the functions that the concept requires, and nothing more. Every
// scheduler and every call compiles with it; nothing of it runs.
#include <rouse/rouse.hpp>

#include <catch2/catch.hpp>

#include <array>
#include <span>
#include <string>
#include <vector>

namespace archetypes {

using rouse::failure;
using handle = rouse::native_handle_type;
using namespace std::chrono_literals;

// The static functions that `os::system_sockets` documents.
struct archetype_sockets {
  static constexpr bool spreads_connections = false;
  static constexpr int accepts_at_once = 1;
  static failure open(int, int, int, bool, handle&) noexcept { return {}; }
  static failure open_pair(int, handle (&)[2]) noexcept { return {}; }
  static void close(handle) noexcept {}
  static void close_copy(handle) noexcept {}
  static failure set_blocking(handle, bool) noexcept { return {}; }
  static failure describe(handle, int&, int&) noexcept { return {}; }
  static bool must_connect(int) noexcept { return {}; }
  static failure explain(const rouse::socket_state&, bool, failure) noexcept { return {}; }
  static failure bind(handle, const rouse::endpoint&, bool) noexcept { return {}; }
  static failure listen(handle, int, int) noexcept { return {}; }
  static failure shutdown(handle, int) noexcept { return {}; }
  static failure local_endpoint(handle, rouse::endpoint&) noexcept { return {}; }
  static failure remote_endpoint(handle, rouse::endpoint&) noexcept { return {}; }
  static failure set_option(handle, int, int, const void*, std::size_t) noexcept { return {}; }
  static failure get_option(handle, int, int, void*, std::size_t&) noexcept { return {}; }
  static failure change_membership(handle, bool, const rouse::endpoint&, const rouse::endpoint*,
                                   unsigned) noexcept {
    return {};
  }
  static bool recv_now(handle, int, void*, std::size_t, std::size_t&, failure&) noexcept {
    return {};
  }
  static bool peek_now(handle, void*, std::size_t, std::size_t&, failure&) noexcept { return {}; }
  static bool send_now(handle, const void*, std::size_t, bool, std::size_t&, failure&) noexcept {
    return {};
  }
  static bool recv_urgent_now(handle, void*, std::size_t, std::size_t&, failure&) noexcept {
    return {};
  }
  static bool send_file_now(handle, rouse::native_file_type, std::uint64_t, std::size_t,
                            std::size_t&, failure&) noexcept {
    return {};
  }
  static bool recv_batch_now(handle, int, std::span<rouse::incoming>, std::size_t&,
                             failure&) noexcept {
    return {};
  }
  static bool send_batch_now(handle, int, std::span<const rouse::outgoing>, std::size_t&,
                             failure&) noexcept {
    return {};
  }
};

struct archetype {
  using operation = rouse::operation;
  using sockets = archetype_sockets;

  archetype() noexcept {}
  archetype(const archetype&) = delete;
  ~archetype() {}
  failure open(rouse::detail::buffer_pool&) noexcept { return {}; }
  std::string report() const { return {}; }
  bool blocking_handles() const noexcept { return {}; }
  rouse::socket_state* make_state() noexcept { return {}; }
  failure attach(rouse::socket_state&) noexcept { return {}; }
  void detach(rouse::socket_state&, bool) noexcept {}
  bool start(operation&) noexcept { return {}; }
  void request_cancel(operation&, rouse::completions&) noexcept {}
  template <class Lock>
  void wait(rouse::clock::time_point, Lock&, rouse::completions&) noexcept {}
  void wake() noexcept {}
};
static_assert(rouse::driver<archetype>);

using engine = rouse::basic_engine<archetype>;
using shared_engine = rouse::basic_engine<archetype, rouse::any_thread>;

// Every call, with each form of further arguments.
template <class S, class Call>
void with_each(S& sched, Call call) {
  if constexpr (std::is_same_v<typename S::waker_type, rouse::callback_waker>) {
    const auto handler = [](std::error_code, auto&&...) {};
    call(handler);
    call(5s, handler);
  } else {
    std::error_code ec;
    (void)call();
    (void)call(ec);
    (void)call(5s, ec);
    (void)call(rouse::limit{5s, std::stop_token{}});
  }
  (void)sched;
}

template <class S>
void use_everything(S& sched) {
  using rouse::endpoint;
  std::array<char, 16> bytes{};
  std::vector<rouse::mutable_buffer> parts{bytes};
  std::array<rouse::incoming, 2> slots;
  std::array<rouse::outgoing, 2> items;
  rouse::socket<S> s{sched};
  const endpoint where{"127.0.0.1", 1};
  s.bind(where);
  s.listen();
  s.shutdown(rouse::shutdown_both);
  s.set_option(rouse::tcp_no_delay{true});
  (void)s.template get_option<rouse::tcp_no_delay>();
  (void)s.local_endpoint();
  (void)s.remote_endpoint();
  s.join_group(endpoint{"224.0.0.1", 0});
  with_each(sched, [&](auto&&... how) { return s.connect(where, how...); });
  with_each(sched, [&](auto&&... how) { return s.accept(how...); });
  with_each(sched, [&](auto&&... how) { return s.accept_native(how...); });
  with_each(sched, [&](auto&&... how) { return s.recv(bytes, how...); });
  with_each(sched, [&](auto&&... how) { return s.recv_exactly(bytes, how...); });
  with_each(sched, [&](auto&&... how) { return s.receive(how...); });
  with_each(sched, [&](auto&&... how) { return s.send(bytes, how...); });
  with_each(sched, [&](auto&&... how) { return s.send_all(bytes, how...); });
  with_each(sched, [&](auto&&... how) { return s.recv_from(bytes, how...); });
  with_each(sched, [&](auto&&... how) { return s.send_to(bytes, where, how...); });
  with_each(sched, [&](auto&&... how) { return s.recv_batch(slots, how...); });
  with_each(sched, [&](auto&&... how) { return s.send_batch(items, how...); });
  with_each(sched, [&](auto&&... how) { return s.peek(bytes, how...); });
  with_each(sched, [&](auto&&... how) { return s.recv_out_of_band(bytes, how...); });
  with_each(sched, [&](auto&&... how) { return s.send_out_of_band(bytes, how...); });
  with_each(sched, [&](auto&&... how) { return s.wait(rouse::readable, how...); });
  with_each(sched, [&](auto&&... how) { return s.send_file({}, 0, 1, how...); });
  with_each(sched, [&](auto&&... how) { return rouse::resolve(sched, "a", "b", how...); });
  with_each(sched, [&](auto&&... how) { return rouse::connect(sched, "a", 1, how...); });
  with_each(sched, [&](auto&&... how) { return sched.sleep_for(1s, how...); });
  (void)rouse::socket_pair(sched);
  rouse::signals<S> caught{sched, {SIGINT}};
  with_each(sched, [&](auto&&... how) { return caught.wait(how...); });
  sched.post([] {});
  sched.dump();
  (void)sched.engine_report();
  if constexpr (!S::engine_type::threading::shared) rouse::per_core<S> cores{where};
  s.cancel();
  s.close();
  sched.run();
}

} // namespace archetypes

TEST_CASE("a driver that satisfies exactly the concept compiles with every call", "[conformance]") {
  using namespace archetypes;
  // Taking the addresses compiles the functions; no call is made.
  CHECK(&use_everything<rouse::basic_scheduler<engine, rouse::coroutine_waker>> != nullptr);
  CHECK(&use_everything<rouse::basic_scheduler<engine, rouse::fiber_waker>> != nullptr);
  CHECK(&use_everything<rouse::basic_scheduler<shared_engine, rouse::thread_waker>> != nullptr);
  CHECK(&use_everything<rouse::basic_scheduler<engine, rouse::callback_waker>> != nullptr);
}
