// The functions of Winsock and kernel32, for the functions that replace them in import tables.
#pragma once
#include <rouse/config.hpp>
#include <rouse/os/windows/socket.hpp>

#if ROUSE_WINDOWS
#include <atomic>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// A function that a DLL of the system exports, found by its name and not through an import table.
///
/// Threads: any.
template <class Function>
class real_function {
public:
  constexpr real_function(const wchar_t* module, const char* name) noexcept
      : module_(module), name_(name) {}

  template <class... Arguments>
  auto operator()(Arguments... arguments) noexcept {
    return find()(arguments...);
  }
  /// Null if the system does not have the function.
  Function* find() noexcept {
    Function* f = found_.load(std::memory_order_relaxed);
    if (!f) {
      f = in(module_);
      found_.store(f, std::memory_order_relaxed);
    }
    return f;
  }
  /// The function of the same name that another module exports, or null.
  Function* in(const wchar_t* module) const noexcept {
    const HMODULE m = ::GetModuleHandleW(module);
    return m ? reinterpret_cast<Function*>(reinterpret_cast<void (*)()>(::GetProcAddress(m, name_)))
             : nullptr;
  }

private:
  const wchar_t* module_;
  const char* name_;
  std::atomic<Function*> found_{nullptr};
};

/// The system's functions. A call by the plain name could reach the functions of interpose.hpp.
struct real {
#define ROUSE_REAL(name)                                                                           \
  static constinit inline real_function<decltype(::name)> name { L"ws2_32.dll", #name }
  ROUSE_REAL(socket);
  ROUSE_REAL(WSASocketA);
  ROUSE_REAL(WSASocketW);
  ROUSE_REAL(connect);
  ROUSE_REAL(WSAConnect);
  ROUSE_REAL(accept);
  ROUSE_REAL(WSAAccept);
  ROUSE_REAL(recv);
  ROUSE_REAL(recvfrom);
  ROUSE_REAL(WSARecv);
  ROUSE_REAL(WSARecvFrom);
  ROUSE_REAL(send);
  ROUSE_REAL(sendto);
  ROUSE_REAL(WSASend);
  ROUSE_REAL(WSASendTo);
  ROUSE_REAL(select);
  ROUSE_REAL(WSAPoll);
  ROUSE_REAL(closesocket);
  ROUSE_REAL(ioctlsocket);
  ROUSE_REAL(WSAIoctl);
  ROUSE_REAL(WSAAsyncSelect);
  ROUSE_REAL(WSAEventSelect);
  ROUSE_REAL(getaddrinfo);
  ROUSE_REAL(GetAddrInfoW);
#undef ROUSE_REAL
#define ROUSE_REAL(name)                                                                           \
  static constinit inline real_function<decltype(::name)> name { L"kernel32.dll", #name }
  ROUSE_REAL(Sleep);
  ROUSE_REAL(SleepEx);
  ROUSE_REAL(LoadLibraryA);
  ROUSE_REAL(LoadLibraryW);
  ROUSE_REAL(LoadLibraryExA);
  ROUSE_REAL(LoadLibraryExW);
#undef ROUSE_REAL
};

}}} // namespace rouse::ROUSE_ABI::os
#endif
