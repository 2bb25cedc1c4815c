// Requirements of Microsoft's documentation that have no effect under Wine: the calls are watched
// or refused.
#include <support/replaced_import.hpp>
#include <support/testing.hpp>

#if ROUSE_WINDOWS
using namespace testing;

namespace {

// Forwards to the function that it replaces, and records its arguments.
template <class Function>
Function& original() {
  static Function f = nullptr;
  return f;
}

std::atomic<int> timers_started{0};
BOOL WINAPI count_timer(HANDLE timer, const LARGE_INTEGER* due, LONG period,
                        PTIMERAPCROUTINE routine, void* argument, BOOL resume) {
  ++timers_started;
  return original<decltype(&::SetWaitableTimer)>()(timer, due, period, routine, argument, resume);
}

HANDLE WINAPI refuse_timer(LPSECURITY_ATTRIBUTES, LPCWSTR, DWORD, DWORD) {
  ::SetLastError(ERROR_INVALID_PARAMETER); // as before Windows 10, 1803
  return nullptr;
}

void* WINAPI refuse_fiber(void*, DWORD) {
  ::SetLastError(ERROR_NOT_ENOUGH_MEMORY);
  return nullptr;
}

std::atomic<ULONG> largest_send{0};
int WSAAPI watch_send(SOCKET s, WSABUF* buffers, DWORD count, DWORD* bytes, DWORD flags,
                      WSAOVERLAPPED* record, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine) {
  for (DWORD i = 0; i != count; ++i) largest_send = (std::max)(largest_send.load(), buffers[i].len);
  return original<decltype(&::WSASend)>()(s, buffers, count, bytes, flags, record, routine);
}

std::atomic<int> base_handles_asked{0};
int WSAAPI count_base_handles(SOCKET s, DWORD code, void* in, DWORD in_size, void* out,
                              DWORD out_size, DWORD* bytes, WSAOVERLAPPED* record,
                              LPWSAOVERLAPPED_COMPLETION_ROUTINE routine) {
  if (code == SIO_BASE_HANDLE) ++base_handles_asked;
  return original<decltype(&::WSAIoctl)>()(s, code, in, in_size, out, out_size, bytes, record,
                                           routine);
}

template <class Function>
struct watched : replaced_import {
  watched(const char* dll, const char* name, Function by)
      : replaced_import(dll, name, reinterpret_cast<void*>(by)) {
    ::original<Function>() = reinterpret_cast<Function>(replaced_import::original());
  }
};

// A temporary file that is open for overlapped I/O, removed at the end.
class overlapped_file {
public:
  explicit overlapped_file(std::string_view content) {
    wchar_t folder[MAX_PATH], name[MAX_PATH];
    REQUIRE(::GetTempPathW(MAX_PATH, folder) != 0);
    REQUIRE(::GetTempFileNameW(folder, L"rse", 0, name) != 0);
    handle_ = ::CreateFileW(name, GENERIC_READ | GENERIC_WRITE, 0, nullptr, CREATE_ALWAYS,
                            FILE_FLAG_OVERLAPPED | FILE_FLAG_DELETE_ON_CLOSE, nullptr);
    REQUIRE(handle_ != INVALID_HANDLE_VALUE);
    OVERLAPPED where{};
    DWORD written = 0;
    const auto size = static_cast<DWORD>(content.size());
    const bool done = ::WriteFile(handle_, content.data(), size, &written, &where) ||
                      ::GetOverlappedResult(handle_, &where, &written, TRUE);
    REQUIRE(done);
    REQUIRE(written == size);
  }
  overlapped_file(const overlapped_file&) = delete;
  overlapped_file& operator=(const overlapped_file&) = delete;
  ~overlapped_file() { ::CloseHandle(handle_); }
  [[nodiscard]] HANDLE get() const { return handle_; }

private:
  HANDLE handle_;
};

} // namespace

TEMPLATE_LIST_TEST_CASE("Windows: a timer ends a short sleep, the port a long one",
                        "[windows][limits]", every_scheduler) {
  TestType sched;
  watched spy("kernel32.dll", "SetWaitableTimer", &count_timer);
  timers_started = 0;
  CHECK(!await<rouse::done>(sched, CALL(sched.sleep_for(5ms, how...))).ec);
  CHECK(timers_started != 0);
  timers_started = 0;
  sched.run_once(0s);
  CHECK(timers_started == 0);
}

TEMPLATE_LIST_TEST_CASE("Windows: a sleep ends without high-resolution timers too",
                        "[windows][limits]", every_scheduler) {
  replaced_import none("kernel32.dll", "CreateWaitableTimerExW",
                       reinterpret_cast<void*>(&refuse_timer));
  TestType sched;
  const auto begun = rouse::clock::now();
  CHECK(!await<rouse::done>(sched, CALL(sched.sleep_for(5ms, how...))).ec);
  CHECK(rouse::clock::now() - begun >= 5ms);
}

TEST_CASE("Windows: a thread that cannot run fibers reports not_enough_memory",
          "[windows][flows]") {
  replaced_import none("kernel32.dll", "ConvertThreadToFiberEx",
                       reinterpret_cast<void*>(&refuse_fiber));
  std::error_code code;
  std::thread([&] { // a thread that is not a fiber yet
    rouse::fibers sched;
    try {
      sched.spawn([] {});
      sched.run();
    } catch (const std::system_error& e) {
      code = e.code();
    }
  })
      .join();
  CHECK(code == std::errc::not_enough_memory);
}

TEMPLATE_LIST_TEST_CASE("Windows: a large send is split into several requests", "[windows][stream]",
                        every_scheduler) {
  connected_pair<TestType> p;
  const auto block = large_block();
  watched spy("ws2_32.dll", "WSASend", &watch_send);
  largest_send = 0;
  auto sent = start(p.sched, CALL(p.client.send_all(block, how...)));
  CHECK(receive(p.sched, p.server, block.size()) == block);
  CHECK(sent.wait().value == block.size());
  CHECK(largest_send <= rouse::os::largest_request);
  CHECK(largest_send != 0);
}

TEMPLATE_LIST_TEST_CASE("Windows: send_file sends a file that is open for overlapped I/O",
                        "[windows][files]", every_scheduler) {
  connected_pair<TestType> p;
  const overlapped_file file("0123456789");
  const HANDLE handle = file.get();
  CHECK(await<std::uint64_t>(p.sched, CALL(p.client.send_file(handle, 2, 5, how...))).value == 5);
  CHECK(receive(p.sched, p.server, 5) == "23456");
  CHECK(await<std::uint64_t>(p.sched, CALL(p.client.send_file(handle, 8, 5, how...))).value == 2);
  CHECK(receive(p.sched, p.server, 2) == "89");
}

TEMPLATE_LIST_TEST_CASE("Windows: a wait uses the handle below a layered provider",
                        "[windows][readiness]", every_scheduler) {
  connected_pair<TestType> p;
  watched spy("ws2_32.dll", "WSAIoctl", &count_base_handles);
  base_handles_asked = 0;
  REQUIRE(!send(p.sched, p.client, "x").ec);
  CHECK(!await<rouse::done>(p.sched, CALL(p.server.wait(rouse::readable, how...))).ec);
  CHECK(base_handles_asked != 0);
}

TEST_CASE("Windows: with reuse_address, an address is bound without exclusive use",
          "[windows][socket]") {
  rouse::callbacks sched;
  rouse::socket first{sched}, second{sched};
  for (auto* s : {&first, &second}) s->set_option(rouse::reuse_address{true});
  first.bind({"127.0.0.1", 0});
  BOOL exclusive = TRUE;
  exclusive = first.get_option<BOOL>(SOL_SOCKET, SO_EXCLUSIVEADDRUSE);
  CHECK(exclusive == FALSE);
}

#endif
