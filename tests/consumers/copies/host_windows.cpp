// The same on Windows: host_windows DLL DLL first|second
// A console event reaches each copy of rouse; the first or the second is unloaded first. One order
// per process: the thread-local objects of mingw-w64's runtime do not outlive a DLL.
#include <winsock2.h>

#include <windows.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace {

#define CHECK(...)                                                                                 \
  do {                                                                                             \
    if (!(__VA_ARGS__)) {                                                                          \
      std::printf("line %d: %s\n", __LINE__, #__VA_ARGS__);                                        \
      std::exit(1);                                                                                \
    }                                                                                              \
  } while (false)

HANDLE heard; // set by the first handler

BOOL WINAPI hear(DWORD) {
  ::SetEvent(heard);
  return TRUE;
}
bool first_hears(DWORD milliseconds) { return ::WaitForSingleObject(heard, milliseconds) == 0; }

void press_ctrl_c() { CHECK(::GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0)); }

class copy {
public:
  explicit copy(const char* path) : path_(path), library_(::LoadLibraryA(path)) {
    CHECK(library_ != nullptr);
    find(open_, "copy_open");
    find(close_, "copy_close");
    find(next_, "copy_next");
    object_ = open_(SIGINT);
  }
  copy(const copy&) = delete;
  copy& operator=(const copy&) = delete;
  ~copy() {
    close_(object_);
    CHECK(::FreeLibrary(library_));
    CHECK(!::GetModuleHandleA(path_));
  }
  bool hears() const { return next_(object_, 30'000) == SIGINT; }
  bool hears_nothing() const { return next_(object_, 0) == 0; }

private:
  template <class F>
  void find(F*& f, const char* name) {
    f = reinterpret_cast<F*>(reinterpret_cast<void*>(::GetProcAddress(library_, name)));
    CHECK(f != nullptr);
  }

  const char* path_;
  HMODULE library_;
  void* (*open_)(int);
  void (*close_)(void*);
  int (*next_)(void*, int);
  void* object_ = nullptr;
};

} // namespace

int main(int argc, char** argv) {
  CHECK(argc == 4);
  ::FreeConsole();
  CHECK(::AllocConsole()); // events belong to a console
  heard = ::CreateEventW(nullptr, FALSE, FALSE, nullptr);
  CHECK(::SetConsoleCtrlHandler(&hear, TRUE));
  auto* stays = new copy(argv[1]);
  auto* goes = new copy(argv[2]);
  press_ctrl_c();
  CHECK(stays->hears() && goes->hears());
  CHECK(stays->hears_nothing() && goes->hears_nothing());
  if (argv[3] == std::string_view("first")) std::swap(stays, goes);
  delete goes;
  press_ctrl_c();
  CHECK(stays->hears() && stays->hears_nothing());
  delete stays;
  CHECK(!first_hears(0));
  press_ctrl_c();
  CHECK(first_hears(30'000));
  std::FILE* const out =
      std::fopen("copies.txt", "w"); // the console closed the standard streams
  CHECK(out && std::fputs("ok\n", out) >= 0 && std::fclose(out) == 0);
  return 0;
}
