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
    REQUIRE(entry_);
    original() = reinterpret_cast<function>(*entry_);
    write(reinterpret_cast<void*>(&option_spy::record));
  }
  option_spy(const option_spy&) = delete;
  option_spy& operator=(const option_spy&) = delete;
  ~option_spy() { write(reinterpret_cast<void*>(original())); }

  static std::ptrdiff_t count(const call& c) {
    std::lock_guard lock(mutex());
    return std::count(calls().begin(), calls().end(), c);
  }

private:
  using function = int(WSAAPI*)(SOCKET, int, int, const char*, int);

  static int WSAAPI record(SOCKET s, int level, int name, const char* value, int size) {
    SOCKET socket = 0;
    if (size == sizeof socket) std::memcpy(&socket, value, sizeof socket);
    {
      std::lock_guard lock(mutex());
      calls().push_back({s, level, name, socket});
    }
    return original()(s, level, name, value, size);
  }

  void write(void* address) {
    DWORD protection = 0;
    ::VirtualProtect(entry_, sizeof *entry_, PAGE_READWRITE, &protection);
    *entry_ = address;
    ::VirtualProtect(entry_, sizeof *entry_, protection, &protection);
  }

  static function& original() {
    static function f = nullptr;
    return f;
  }
  static std::vector<call>& calls() {
    static std::vector<call> all;
    return all;
  }
  static std::mutex& mutex() {
    static std::mutex m;
    return m;
  }

  void** entry_ = import_of("ws2_32.dll", "setsockopt");
};

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

#endif
