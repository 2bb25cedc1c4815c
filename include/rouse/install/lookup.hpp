// getaddrinfo and GetAddrInfoW for fibers: a helper thread makes the call while the fiber is
// parked.
#pragma once
#include <rouse/config.hpp>
#include <rouse/detail/guarded.hpp>
#include <rouse/install/call_parker.hpp>
#include <rouse/os/address.hpp>
#include <rouse/os/without_signals.hpp>

#if ROUSE_LINUX || ROUSE_WINDOWS
#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#if ROUSE_LINUX
#include <netdb.h>
#endif

namespace rouse { inline namespace ROUSE_ABI { namespace os { namespace parked {

/// A request to the resolver and its result. The calling fiber and the helper thread share
/// ownership, since the fiber may return first, when its call is cancelled.
template <class Names>
struct lookup {
  typename Names::string host, service;
  bool with_service = false, with_hints = false;
  typename Names::information hints{};
  typename Names::information* found = nullptr;
  int result = 0, error = 0;
  typename Names::event done;
  std::atomic<bool> finished{false};

  lookup() = default;
  lookup(const lookup&) = delete;
  lookup& operator=(const lookup&) = delete;
  ~lookup() {
    if (found) Names::free(found);
  }

  void run() noexcept {
    result = Names::look_up(host.c_str(), with_service ? service.c_str() : nullptr,
                            with_hints ? &hints : nullptr, &found);
    error = call_error();
    finished.store(true, std::memory_order_release); // acquired by the waiting fiber
    done.signal();
  }
};

/// Looks a name up in a helper thread while the calling fiber is parked.
/// @tparam Names  the platform's function, with its types and its ways to report an error.
template <class Names, class Character>
int look_up(const Character* host, const Character* service,
            const typename Names::information* hints,
            typename Names::information** found) noexcept {
  const int before = call_error();
  const auto finish = [before](int result) {
    set_call_error(Names::error_of(result, call_error(), before));
    return result;
  };
  // A numeric address needs no resolver.
  typename Names::information numeric{};
  if (hints) numeric = *hints;
  numeric.ai_flags |= AI_NUMERICHOST;
  const int result = Names::look_up(host, service, host ? &numeric : hints, found);
  if (!host || Names::is_final(result) || (hints && (hints->ai_flags & AI_NUMERICHOST)))
    return finish(result);

  const auto in_helper_thread = [&] {
    const auto request = std::make_shared<lookup<Names>>();
    request->host = host;
    if (service) request->service = service;
    request->with_service = service != nullptr;
    if (hints) request->hints = *hints;
    request->with_hints = hints != nullptr;
    if (!request->done.create()) return finish(Names::failed_call());
    {
      const without_signals inherited;
      std::thread([request] { request->run(); }).detach();
    }
    const watched_file file = request->done.file();
    const interruption ends = Names::ends();
    while (!request->finished.load(std::memory_order_acquire)) {
      if (!park(&file, 1, request->done.next_look(), ends)) return finish(Names::failed_call());
    }
    *found = std::exchange(request->found, nullptr);
    set_call_error(request->error);
    return finish(request->result);
  };
  return rouse::detail::guarded(in_helper_thread, [&] { return finish(EAI_AGAIN); });
}

}}}} // namespace rouse::ROUSE_ABI::os::parked
#endif
