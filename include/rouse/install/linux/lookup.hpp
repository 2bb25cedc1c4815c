// getaddrinfo, made so that it blocks a flow and not its thread.
#pragma once
#include <rouse/config.hpp>
#include <rouse/install/linux/calls.hpp>
#include <rouse/os/lookup.hpp>

#if ROUSE_LINUX
#include <atomic>
#include <cerrno>
#include <memory>
#include <netdb.h>
#include <poll.h>
#include <string>
#include <thread>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace os { namespace parked {

/// A question to the resolver, which a thread of its own asks. It outlives a caller that leaves.
struct lookup {
  std::string host, service;
  bool with_host = false, with_service = false, with_hints = false;
  addrinfo hints{};
  addrinfo* found = nullptr;
  int result = 0, error = 0;
  unique_fd done{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::atomic<bool> finished{false};

  lookup() = default;
  lookup(const lookup&) = delete;
  lookup& operator=(const lookup&) = delete;
  ~lookup() {
    if (found) ::freeaddrinfo(found);
  }

  void ask() noexcept {
    result = real::getaddrinfo(with_host ? host.c_str() : nullptr,
                               with_service ? service.c_str() : nullptr,
                               with_hints ? &hints : nullptr, &found);
    error = errno;
    finished.store(true, std::memory_order_release); // acquired by the waiting fiber
    ::eventfd_write(done.get(), 1);
  }
};

inline int getaddrinfo(const char* host, const char* service, const addrinfo* hints,
                       addrinfo** found) noexcept {
  const int before = errno;
  // An address is not asked for anywhere.
  addrinfo numeric{};
  if (hints) numeric = *hints;
  numeric.ai_flags |= AI_NUMERICHOST;
  const int result = real::getaddrinfo(host, service, host ? &numeric : hints, found);
  if (!host || result != EAI_NONAME || (hints && (hints->ai_flags & AI_NUMERICHOST))) return result;

  ROUSE_TRY {
    const auto request = std::make_shared<lookup>();
    request->host = host;
    request->with_host = true;
    if (service) request->service = service;
    request->with_service = service != nullptr;
    if (hints) request->hints = *hints;
    request->with_hints = hints != nullptr;
    if (!request->done) return EAI_SYSTEM;
    {
      const without_signals inherited;
      std::thread([request] { request->ask(); }).detach();
    }
    const pollfd file{request->done.get(), POLLIN, 0};
    const interruption ends(interruption::by::nothing, "getaddrinfo");
    while (!request->finished.load(std::memory_order_acquire)) {
      if (!park(&file, 1, (clock::time_point::max)(), ends)) return EAI_SYSTEM;
    }
    *found = std::exchange(request->found, nullptr);
    errno = request->result == EAI_SYSTEM ? request->error : before;
    return request->result;
  }
  ROUSE_CATCH(...) { return EAI_AGAIN; } // no memory, or no thread
}

}}}} // namespace rouse::ROUSE_ABI::os::parked
#endif
