// Observers: what an engine is asked to remember, or to write down, of its operations.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
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

/// The words for what a pending operation waits for: the call, or what it awaits.
inline const char* name_of(const operation& op) noexcept {
  if (op.is_retry()) return op.retry->call;
  if (op.action != action::wait) return name_of(op.action);
  return op.awaited ? op.awaited->description() : "sleep";
}

} // namespace detail

/// Remembers since when each operation has been with the engine, and where the call stands that
/// made it (the call's limit, if it has one), which `dump()` then says.
///
/// Cost: a look at the clock for each operation that waits. (Of a call that needs several requests
/// it is the last one's time.)
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

/// Writes down each operation, and each turn of the loop, as a trace that chrome://tracing and
/// Perfetto show: an asynchronous event from where the engine is given an operation to where its
/// waiter is told, an instant for one that is done at once, an instant for each turn that told
/// anybody.
///
///     sched.engine().observer().write_to(file);      // borrowed until finish(), or the engine's
///     end
///
/// Cost: a line of text for each event. Source: "Trace Event Format", JSON array.
class trace_observer : public no_observer {
public:
  struct mark {
    clock::time_point since;
    std::uint64_t id = 0; // 0: not traced
    const char* name = nullptr; // as it began: afterwards what it awaited may be gone
  };

  trace_observer() noexcept = default;
  trace_observer(const trace_observer&) = delete;
  trace_observer& operator=(const trace_observer&) = delete;
  ~trace_observer() { finish(); }

  /// From now on; operations that have begun are left out. With a shared engine: before others use
  /// it.
  void write_to(std::FILE* file) noexcept {
    finish();
    file_ = file;
    first_ = true;
    std::fputs("[", file_);
  }
  /// Ends the trace; what is in progress stays without an end.
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
      write("turn", "i", 0, ", \"s\": \"t\"", "told", static_cast<long long>(completed));
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
