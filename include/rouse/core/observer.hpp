// Observers: they record or trace the operations of an engine.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/waiting.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/detail/threading.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <source_location>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

inline const char* name_of(action a) noexcept {
  switch (a) {
  case action::wait:
    return "wait";
  case action::yield:
    return "yield";
  case action::recv:
    return "recv";
  case action::send:
    return "send";
  case action::accept:
    return "accept";
  case action::connect:
    return "connect";
  case action::receive:
    return "receive";
  case action::recv_from:
    return "recv_from";
  case action::send_to:
    return "send_to";
  case action::when_readable:
    return "when_readable";
  case action::when_writable:
    return "when_writable";
  case action::when_urgent:
    return "when_urgent";
  }
  return "unknown";
}

/// Describes what a pending operation waits for: its call, or what it awaits.
inline const char* name_of(const operation& op) noexcept {
  if (op.is_retry()) return op.retry->call;
  if (op.action != action::wait) return name_of(op.action);
  return op.awaited ? op.awaited->description() : "sleep";
}

} // namespace detail

/// Records for each pending operation when it was submitted, and the source location of its call
/// (or of the call's limit, if it has one). `dump()` then prints both.
///
/// If a call needs several requests, the time is that of the last one. Cost: one read of the clock
/// for each operation that waits.
struct age_observer : no_observer {
  struct mark {
    clock::time_point since;
    std::source_location where{};
  };
  template <class Operation>
  void begun(Operation& op) noexcept {
    op.mark.since = clock::now();
  }
};

/// Writes a trace of all operations and turns of the loop, for chrome://tracing and Perfetto.
///
///     sched.engine().observer().write_to(file);
///
/// An operation is an asynchronous event, from its submission until its waiter runs; one that
/// completes at once is an instant. Each turn that completed any operation is an instant.
///
/// Cost: a line of text for each event. Source: "Trace Event Format", JSON array.
class trace_observer : public no_observer {
public:
  struct mark {
    clock::time_point since;
    std::uint64_t id = 0; // 0: not traced
    const char* name = nullptr; // kept: the awaited object may be destroyed
  };

  trace_observer() noexcept = default;
  trace_observer(const trace_observer&) = delete;
  trace_observer& operator=(const trace_observer&) = delete;
  ~trace_observer() { finish(); }

  /// Starts the trace. Operations that are pending now are left out.
  /// @param file  borrowed until `finish()` or the end of the engine.
  ///
  /// With a shared engine: call it before other threads use the engine.
  void write_to(std::FILE* file) noexcept {
    finish();
    file_ = file;
    first_ = true;
    std::fputs("[", file_);
  }
  /// Ends the trace. Operations that are still pending have no end event.
  void finish() noexcept {
    if (!file_) return;
    std::fputs("\n]\n", file_);
    std::fflush(std::exchange(file_, nullptr));
  }

  template <class Operation>
  void at_once(Operation& op) noexcept {
    if (file_) write(detail::name_of(op), "i", 0, ", \"s\": \"t\"", nullptr, 0);
  }
  template <class Operation>
  void begun(Operation& op) noexcept {
    op.mark.since = clock::now();
    op.mark.id = file_ ? ++last_ : 0;
    if (!file_) return;
    op.mark.name = detail::name_of(op);
    const auto socket = op.target ? static_cast<long long>(op.target->native) : -1;
    write(op.mark.name, "b", op.mark.id, "", "socket", socket);
  }
  template <class Operation>
  void ended(Operation& op) noexcept {
    if (!file_ || op.mark.id == 0) return;
    write(op.mark.name, "e", std::exchange(op.mark.id, 0), "", "bytes",
          static_cast<long long>(op.bytes));
  }
  void turned(std::size_t completed) noexcept {
    if (file_ && completed != 0)
      write("turn", "i", 0, ", \"s\": \"t\"", "completed", static_cast<long long>(completed));
  }

private:
  void write(const char* name, const char* phase, std::uint64_t id, const char* more,
             const char* key, long long value) noexcept {
    const std::chrono::duration<double, std::micro> now = clock::now() - start_;
    std::fprintf(file_,
                 "%s\n{\"name\": \"%s\", \"cat\": \"rouse\", \"ph\": \"%s\", \"pid\": 1, "
                 "\"tid\": 1, \"ts\": %.3f%s",
                 std::exchange(first_, false) ? "" : ",", name, phase, now.count(), more);
    if (id != 0) std::fprintf(file_, ", \"id\": \"%llu\"", static_cast<unsigned long long>(id));
    if (key) std::fprintf(file_, ", \"args\": {\"%s\": %lld}", key, value);
    std::fputs("}", file_);
  }

  std::FILE* file_ = nullptr;
  bool first_ = true;
  std::uint64_t last_ = 0;
  clock::time_point start_ = clock::now();
};

}} // namespace rouse::ROUSE_ABI
