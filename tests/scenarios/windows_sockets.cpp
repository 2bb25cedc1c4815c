// Options that Windows needs after AcceptEx and ConnectEx: before, a socket has no addresses and
// cannot be shut down. Wine works either way, so the calls are watched.
#include <support/replaced_import.hpp>
#include <support/testing.hpp>

#if defined(_WIN32)
#include <algorithm>
#include <mutex>

using namespace testing;

namespace {

/// Records this program's calls of setsockopt while it exists.
class option_spy {
public:
  struct call {
    SOCKET socket;
    int level, name;
    SOCKET value; // 0 if the option's value is not a socket
    bool operator==(const call&) const = default;
  };

  option_spy() {
    calls().clear();
    original_ = reinterpret_cast<function>(spy_.original());
  }

  static std::ptrdiff_t count(const call& c) {
    std::lock_guard lock(mutex());
    return std::count(calls().begin(), calls().end(), c);
  }

private:
  static int WSAAPI record(SOCKET s, int level, int name, const char* value, int size) {
    SOCKET socket = 0;
    if (size == sizeof socket) std::memcpy(&socket, value, sizeof socket);
    {
      std::lock_guard lock(mutex());
      calls().push_back({s, level, name, socket});
    }
    return original_(s, level, name, value, size);
  }

  static std::vector<call>& calls() {
    static std::vector<call> all;
    return all;
  }
  static std::mutex& mutex() {
    static std::mutex m;
    return m;
  }

  using function = decltype(&::setsockopt);
  static inline function original_ = nullptr;
  replaced_import spy_{"ws2_32.dll", "setsockopt", reinterpret_cast<void*>(&option_spy::record)};
};

// Windows without resources for another socket.
SOCKET WSAAPI refuse_socket(int, int, int, WSAPROTOCOL_INFOW*, GROUP, DWORD) {
  ::WSASetLastError(WSAEMFILE);
  return INVALID_SOCKET;
}

} // namespace

TEMPLATE_LIST_TEST_CASE("Windows knows the listener of an accepted socket", "[socket][windows]",
                        every_scheduler) {
  option_spy spy;
  connected_pair<TestType> pair;
  CHECK(spy.count({pair.server.native_handle(), SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT,
                   pair.listener.native_handle()}) == 1);
}

TEMPLATE_LIST_TEST_CASE("Windows knows that a socket has connected", "[socket][windows]",
                        every_scheduler) {
  option_spy spy;
  connected_pair<TestType> pair;
  CHECK(spy.count({pair.client.native_handle(), SOL_SOCKET, SO_UPDATE_CONNECT_CONTEXT, 0}) == 1);
}

TEMPLATE_LIST_TEST_CASE(
    "accept: waits while there are no sockets, and continues when there are some",
    "[accept][windows][A05]", every_scheduler) {
  TestType sched;
  auto listener = listening(sched);
  rouse::socket client{sched};
  auto connected =
      start<rouse::done>(sched, CALL(client.connect(listener.local_endpoint(), how...)));
  std::optional<started<TestType, rouse::socket<TestType>>> pending;
  {
    replaced_import none("ws2_32.dll", "WSASocketW", reinterpret_cast<void*>(&refuse_socket));
    pending = start<rouse::socket<TestType>>(sched, CALL(listener.accept(how...)));
    REQUIRE(!connected.wait().ec);
    sched.run_for(100ms);
    CHECK(!pending->finished());
  }
  REQUIRE(!pending->wait().ec);
  CHECK(pending->wait().value.remote_endpoint() == client.local_endpoint());
}

#endif
