// What Windows must be told of a socket that AcceptEx or ConnectEx has connected: until then it has
// no addresses and cannot be shut down. Under Wine it works either way, so the calls are watched.
#include <support/testing.hpp>

#if defined(_WIN32)
#include <algorithm>
#include <mutex>

using namespace testing;

namespace {

/// Where this program's import table has the address of a function of a DLL.
void** import_of(const char* dll, const char* function) {
  const auto address = reinterpret_cast<void*>(::GetProcAddress(::GetModuleHandleA(dll), function));
  char* program = reinterpret_cast<char*>(::GetModuleHandleW(nullptr));
  const auto& dos = *reinterpret_cast<IMAGE_DOS_HEADER*>(program);
  const auto& nt = *reinterpret_cast<IMAGE_NT_HEADERS*>(program + dos.e_lfanew);
  const auto& table = nt.OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_IMPORT];
  auto* imported = reinterpret_cast<IMAGE_IMPORT_DESCRIPTOR*>(program + table.VirtualAddress);
  for (; imported->FirstThunk != 0; ++imported) {
    auto** entry = reinterpret_cast<void**>(program + imported->FirstThunk);
    for (; *entry; ++entry)
      if (*entry == address) return entry;
  }
  return nullptr;
}

/// Puts a function of the tests in place of an imported one while it lives.
class replaced_import {
public:
  replaced_import(const char* dll, const char* function, void* by)
      : entry_(import_of(dll, function)) {
    REQUIRE(entry_);
    original_ = *entry_;
    write(by);
  }
  replaced_import(const replaced_import&) = delete;
  replaced_import& operator=(const replaced_import&) = delete;
  ~replaced_import() { write(original_); }

  void* original() const { return original_; }

private:
  void write(void* address) {
    DWORD protection = 0;
    ::VirtualProtect(entry_, sizeof *entry_, PAGE_READWRITE, &protection);
    *entry_ = address;
    ::VirtualProtect(entry_, sizeof *entry_, protection, &protection);
  }

  void** entry_;
  void* original_ = nullptr;
};

/// Records this program's calls of setsockopt while it lives.
class option_spy {
public:
  struct call {
    SOCKET socket;
    int level, name;
    SOCKET value; // 0 where the option's value is no socket
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

TEMPLATE_LIST_TEST_CASE("Windows is told whose connection an accepted socket has",
                        "[socket][windows]", every_scheduler) {
  option_spy spy;
  connected_pair<TestType> pair;
  CHECK(spy.count({pair.server.native_handle(), SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT,
                   pair.listener.native_handle()}) == 1);
}

TEMPLATE_LIST_TEST_CASE("Windows is told that a socket has connected", "[socket][windows]",
                        every_scheduler) {
  option_spy spy;
  connected_pair<TestType> pair;
  CHECK(spy.count({pair.client.native_handle(), SOL_SOCKET, SO_UPDATE_CONNECT_CONTEXT, 0}) == 1);
}

TEMPLATE_LIST_TEST_CASE("accept: without sockets it waits, and goes on when there are some",
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
