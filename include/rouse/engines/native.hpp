// The engine of the platform: IOCP on Windows; on Linux the first of io_uring and epoll that the
// kernel lets start.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/detail/threading.hpp>
#include <rouse/engines/basic_engine.hpp>
#include <rouse/engines/epoll.hpp>
#include <rouse/engines/io_uring.hpp>
#include <rouse/engines/iocp.hpp>

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#if ROUSE_WINDOWS
namespace rouse::inline ROUSE_ABI {

template <class Threading = one_thread>
using basic_native_engine = basic_iocp_engine<Threading>;

using native_engine = basic_native_engine<one_thread>;
/// The same for any thread: what `threads` uses.
using shared_native_engine = basic_native_engine<any_thread>;

} // namespace rouse::inline ROUSE_ABI
#else
namespace rouse::inline ROUSE_ABI {

/// The best engine that starts here. `engine_report()` tells which it is and why a better one was
/// refused; the environment's `ROUSE_ENGINE=epoll` or `ROUSE_ENGINE=io_uring` takes that one alone,
/// for diagnosis.
template <class Threading = one_thread>
struct basic_native_engine {
  using core = basic_engine<Threading>;

  /// Null, with the last refusal in `why`, where none starts.
  [[nodiscard]] static std::unique_ptr<core> make(failure& why) {
    std::string refusals;
    auto engine = attempt<basic_io_uring_engine<Threading>>("io_uring", refusals, why);
    if (!engine) engine = attempt<basic_epoll_engine<Threading>>("epoll", refusals, why);
    return engine;
  }

private:
  template <class Engine>
  static std::unique_ptr<core> attempt(std::string_view name, std::string& refusals, failure& why) {
    const char* wanted = std::getenv("ROUSE_ENGINE");
    if (wanted && *wanted && wanted != name) {
      refusals += "; " + std::string(name) + " not wanted: ROUSE_ENGINE=" + wanted;
      if (!why) why = std::errc::invalid_argument;
      return nullptr;
    }
    auto engine = Engine::make(why);
    if (engine)
      engine->report(engine->report() + refusals);
    else
      refusals += "; " + std::string(name) + " refused: " + why.code().message();
    return engine;
  }
};

using native_engine = basic_native_engine<one_thread>;
/// The same for any thread: what `threads` uses.
using shared_native_engine = basic_native_engine<any_thread>;

} // namespace rouse::inline ROUSE_ABI
#endif
