// The engine of the platform: IOCP on Windows; on Linux io_uring, or epoll where the kernel refuses
// that.
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
namespace rouse { inline namespace ROUSE_ABI {

template <class Threading = one_thread>
using basic_native_engine = basic_iocp_engine<Threading>;

using native_engine = basic_native_engine<one_thread>;
/// The same for any thread: what `threads` uses.
using shared_native_engine = basic_native_engine<any_thread>;

}} // namespace rouse::ROUSE_ABI
#else
namespace rouse { inline namespace ROUSE_ABI {

/// The best engine that starts here. `engine_report()` tells which it is and why a better one was
/// refused; the environment's `ROUSE_ENGINE=epoll` or `ROUSE_ENGINE=io_uring` takes that one alone,
/// for diagnosis.
///
/// Where threads share it, epoll comes first: io_uring works on an answer in the thread that asked
/// for it, which has to be woken for that, and again to be told.
template <class Threading = one_thread>
struct basic_native_engine {
  using core = basic_engine<Threading>;

  /// Null, with the last refusal in `why`, where none starts.
  [[nodiscard]] static std::unique_ptr<core> make(failure& why) {
    std::string refusals;
    std::unique_ptr<core> engine;
    if (Threading::shared) engine = attempt<basic_epoll_engine<Threading>>("epoll", refusals, why);
    if (!engine) engine = attempt<basic_io_uring_engine<Threading>>("io_uring", refusals, why);
    if (!engine && !Threading::shared)
      engine = attempt<basic_epoll_engine<Threading>>("epoll", refusals, why);
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

}} // namespace rouse::ROUSE_ABI
#endif
