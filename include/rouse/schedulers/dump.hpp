// The text of `basic_scheduler::dump`.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/flow.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/observer.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/os/socket.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

// Describes the operations of an engine, then flows: one line for each.
class dump_text {
public:
  // Only pending operations are described in full: they do not change while the engine is locked.
  template <class Engine>
  void add_operations(Engine& engine) {
    engine.for_each_operation([&](const typename Engine::operation& op) {
      pending_.emplace_back(&op, brief(op));
      std::string line = pending_.back().second;
      if (op.waits()) line += ends_of<typename Engine::sockets>(op) + limit_of(op);
      if constexpr (requires { op.mark.since; })
        line += ", since " + milliseconds(clock::now() - op.mark.since);
      if constexpr (requires { op.mark.where; })
        line += place(", at ", op.mark.where.file_name(), op.mark.where.line());
      add(line);
    });
  }

  // Reads only the address of the flow's operation, because the operation itself may be changing.
  void add_flow(const char* kind, const flow& f, bool begun) {
    std::string line = kind;
    if (f.ended.is_set.load(std::memory_order_relaxed))
      line += ", ended";
    else if (!begun)
      line += ", not begun";
    else
      line += f.waiting ? waits_for(f.waiting) : ", runs, or waits for something else";
    if (f.cancelled) line += ", cancelled";
    if (const char* file = f.file.load(std::memory_order_acquire))
      line += place(", spawned at ", file, f.line);
    add(line);
  }

  [[nodiscard]] std::vector<std::string>& lines() noexcept { return lines_; }

private:
  void add(const std::string& line) { lines_.push_back("  " + line + "\n"); }

  // The socket of an operation that is no longer pending may have been destroyed already.
  static std::string brief(const operation& op) {
    if (!op.waits()) return std::string(name_of(op.action)) + ", about to complete";
    if (op.target && op.target->awaits_signals) return "signal wait";
    std::string text = name_of(op);
    if (handle_of_program(op) != -1)
      return text + " on descriptor " + std::to_string(handle_of_program(op));
    if (op.target) text += " on socket " + std::to_string(op.target->native);
    return text;
  }

  // If a pending operation waits on an internal file that stands for files of the program: the
  // first of these files; else -1.
  static std::intptr_t handle_of_program(const operation& op) noexcept {
    return op.is_retry() ? op.retry->handle : -1;
  }

  template <class Sockets>
  static std::string ends_of(const operation& op) {
    if (!op.target || op.target->awaits_signals || handle_of_program(op) != -1) return {};
    const auto handle = static_cast<native_handle_type>(op.target->native);
    endpoint local, remote;
    std::string text = " (";
    text += Sockets::local_endpoint(handle, local) ? "unbound" : to_string(local);
    if (op.action == action::connect)
      text += ", to " + to_string(*op.peer);
    else if (op.action != action::accept && !Sockets::remote_endpoint(handle, remote))
      text += ", with " + to_string(remote);
    return text += ")";
  }

  static std::string limit_of(const operation& op) {
    if (!op.limited) return {};
    const auto now = clock::now();
    return ", " + milliseconds(op.due > now ? op.due - now : clock::duration::zero()) + " left";
  }

  // Line 0: unknown.
  static std::string place(const char* what, const char* file, unsigned line) {
    return line == 0 ? "" : std::string(what) + file + ":" + std::to_string(line);
  }

  static std::string milliseconds(clock::duration d) {
    using std::chrono::milliseconds;
    return std::to_string(std::chrono::duration_cast<milliseconds>(d).count()) + " ms";
  }

  std::string waits_for(const operation* op) const {
    for (const auto& [pending, text] : pending_) {
      if (pending == op) return ", waits for " + text;
    }
    return ", runs";
  }

  std::vector<std::pair<const operation*, std::string>> pending_;
  std::vector<std::string> lines_;
};

}}} // namespace rouse::ROUSE_ABI::detail
