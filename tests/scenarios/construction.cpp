// Construction, handles, options: section 1 of scenarios.md.
#include <support/testing.hpp>

using namespace testing;

TEMPLATE_LIST_TEST_CASE("a default-constructed socket is closed", "[socket][C01]",
                        every_scheduler) {
  rouse::socket<TestType> s;
  CHECK(!s.is_open());
  CHECK(s.native_handle() == rouse::socket<TestType>{}.native_handle());
  s.cancel();
  s.close();
}

TEMPLATE_LIST_TEST_CASE("moving a socket moves the connection and leaves a closed socket",
                        "[socket][C02]", every_scheduler) {
  connected_pair<TestType> pair;
  const auto handle = pair.client.native_handle();
  rouse::socket<TestType> moved = std::move(pair.client);
  CHECK(!pair.client.is_open());
  CHECK(moved.native_handle() == handle);
  rouse::socket<TestType> assigned{pair.sched};
  assigned = std::move(moved);
  CHECK(!moved.is_open());
  CHECK(assigned.native_handle() == handle);
  CHECK(send(pair.sched, assigned, "still here").value == 10);
  CHECK(receive(pair.sched, pair.server, 10) == "still here");
}

TEMPLATE_LIST_TEST_CASE("connecting to a peer of another family is an error", "[socket][C03]",
                        every_scheduler) {
  TestType sched;
  rouse::socket s{sched};
  const auto r = await<rouse::done>(sched, CALL(s.connect({"::1", 9}, how...)));
  CHECK(r.ec == std::errc::address_family_not_supported);
}

TEMPLATE_LIST_TEST_CASE("an adopted handle works at once", "[socket][C04]", every_scheduler) {
  connected_pair<TestType> pair;
  const auto remote = pair.client.remote_endpoint();
  const auto handle = pair.client.release();
  CHECK(!pair.client.is_open());
#if ROUSE_WINDOWS
  // A handle stays tied to its completion port: only a fresh one can be adopted.
  CHECK(handle != rouse::socket<TestType>{}.native_handle());
  ::closesocket(handle);
  auto fresh = rouse::socket<TestType>::adopt(
      pair.sched, ::WSASocketW(AF_INET, SOCK_STREAM, 0, nullptr, 0, WSA_FLAG_OVERLAPPED));
  auto accepted = start<rouse::socket<TestType>>(pair.sched, CALL(pair.listener.accept(how...)));
  REQUIRE(!await<rouse::done>(pair.sched, CALL(fresh.connect(remote, how...))).ec);
  REQUIRE(!accepted.wait().ec);
  CHECK(send(pair.sched, fresh, "adopted").value == 7);
  CHECK(receive(pair.sched, accepted.wait().value, 7) == "adopted");
#else
  auto adopted = rouse::socket<TestType>::adopt(pair.sched, handle);
  CHECK(adopted.remote_endpoint() == remote);
  CHECK(send(pair.sched, adopted, "adopted").value == 7);
  CHECK(receive(pair.sched, pair.server, 7) == "adopted");
#endif
}

TEMPLATE_LIST_TEST_CASE("adopting a handle that is not a socket is an error", "[socket][C04]",
                        every_scheduler) {
  TestType sched;
  std::error_code ec;
  auto s = rouse::socket<TestType>::adopt(sched, rouse::socket<TestType>{}.native_handle(), ec);
  CHECK((ec == std::errc::bad_file_descriptor || ec == std::errc::not_a_socket));
  CHECK(!s.is_open());
}

TEMPLATE_LIST_TEST_CASE("release cancels pending calls and returns a handle for the system's calls",
                        "[socket][C05]", every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  auto pending = start(pair.sched, CALL(pair.client.recv(buf, how...)));
  until_pending(pair.sched, 1);
  const auto handle = pair.client.release();
  CHECK(pending.wait().ec == std::errc::operation_canceled);
  CHECK(send(pair.sched, pair.server, "x").value == 1);
  char byte = 0;
  CHECK(::recv(handle, &byte, 1, 0) == 1); // in blocking mode, as the system makes sockets
  CHECK(byte == 'x');
#if ROUSE_WINDOWS
  ::closesocket(handle);
#else
  ::close(handle);
#endif
}

TEMPLATE_LIST_TEST_CASE("every call on a closed socket fails with bad_file_descriptor",
                        "[socket][C06]", every_scheduler) {
  TestType sched;
  std::array<char, 8> buf;
  const auto all_refused = [&](rouse::socket<TestType>& s) {
    CHECK(await(sched, CALL(s.recv(buf, how...))).ec == std::errc::bad_file_descriptor);
    CHECK(await(sched, CALL(s.recv(buf, 5s, how...))).ec == std::errc::bad_file_descriptor);
    CHECK(await(sched, CALL(s.recv_exactly(buf, how...))).ec == std::errc::bad_file_descriptor);
    CHECK(await(sched, CALL(s.send("x", how...))).ec == std::errc::bad_file_descriptor);
    CHECK(await(sched, CALL(s.send_all("x", how...))).ec == std::errc::bad_file_descriptor);
    CHECK(await<rouse::done>(sched, CALL(s.connect({"127.0.0.1", 9}, how...))).ec ==
          std::errc::bad_file_descriptor);
    CHECK(await<rouse::socket<TestType>>(sched, CALL(s.accept(how...))).ec ==
          std::errc::bad_file_descriptor);
    std::error_code ec;
    s.bind({"127.0.0.1", 0}, ec);
    CHECK(ec == std::errc::bad_file_descriptor);
    s.listen(ec);
    CHECK(ec == std::errc::bad_file_descriptor);
    s.shutdown(rouse::shutdown_both, ec);
    CHECK(ec == std::errc::bad_file_descriptor);
    (void)s.local_endpoint(ec);
    CHECK(ec == std::errc::bad_file_descriptor);
    (void)s.remote_endpoint(ec);
    CHECK(ec == std::errc::bad_file_descriptor);
    s.set_option(rouse::tcp_no_delay{true}, ec);
    CHECK(ec == std::errc::bad_file_descriptor);
    CHECK_THROWS_AS(s.bind({"127.0.0.1", 0}), std::system_error);
    s.cancel();
    s.close();
  };
  rouse::socket closed{sched};
  closed.close();
  all_refused(closed);
  rouse::socket<TestType> never;
  all_refused(never);
}

TEMPLATE_LIST_TEST_CASE("get_option returns what set_option set", "[socket][C07][B23]",
                        every_scheduler) {
  TestType sched;
  rouse::socket s{sched};
  s.set_option(rouse::tcp_no_delay{true});
  CHECK(s.template get_option<rouse::tcp_no_delay>().value());
  s.set_option(rouse::tcp_no_delay{false});
  CHECK(!s.template get_option<rouse::tcp_no_delay>().value());
  s.set_option(rouse::keep_alive{true});
  CHECK(s.template get_option<rouse::keep_alive>().value());
  s.set_option(rouse::reuse_address{true});
  CHECK(s.template get_option<rouse::reuse_address>().value());
  s.set_option(rouse::linger{true, 3s});
  CHECK(s.template get_option<rouse::linger>().on());
  CHECK(s.template get_option<rouse::linger>().time() == 3s);
  s.set_option(rouse::receive_buffer_size{32768});
  CHECK(s.template get_option<rouse::receive_buffer_size>().value() >= 32768); // Linux doubles it
  s.set_option(rouse::send_buffer_size{32768});
  CHECK(s.template get_option<rouse::send_buffer_size>().value() >= 32768);
  s.set_option(rouse::time_to_live{17});
  CHECK(s.template get_option<rouse::time_to_live>().value() == 17);
  rouse::socket six{sched, AF_INET6};
  six.set_option(rouse::v6_only{true});
  CHECK(six.template get_option<rouse::v6_only>().value());
}

TEMPLATE_LIST_TEST_CASE("an option of another protocol is an error, and the socket stays usable",
                        "[socket][C07]", every_scheduler) {
  connected_pair<TestType> pair;
  std::error_code ec;
  pair.client.set_option(9999, 1, 1, ec);
  CHECK(ec);
  CHECK(send(pair.sched, pair.client, "fine").value == 4);
  CHECK(receive(pair.sched, pair.server, 4) == "fine");
}

TEMPLATE_LIST_TEST_CASE("an option can be set by its numbers", "[socket][C08]", every_scheduler) {
  TestType sched;
  rouse::socket s{sched};
  s.set_option(SOL_SOCKET, SO_KEEPALIVE, 1);
  CHECK(s.template get_option<int>(SOL_SOCKET, SO_KEEPALIVE) != 0);
}

#if ROUSE_LINUX
#include <fcntl.h>
TEMPLATE_LIST_TEST_CASE("handles are closed when another program is executed", "[socket][C09]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  for (const auto* s : {&pair.listener, &pair.server, &pair.client}) {
    CHECK((::fcntl(s->native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
  }
}
#endif
