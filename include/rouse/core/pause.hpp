// A pause between two rounds of a call.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/waiting.hpp>
#include <rouse/detail/chrono.hpp>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

// A round that only waits: for calls that must try again later where no event says when. The call's
// limit ends the pause as well.
class pause final : public waitable {
public:
  /// @param why  for `dump`: what the call waits for.
  explicit pause(const char* why) noexcept : why_(why) {}

  static bool is(const operation& op) noexcept { return op.action == action::wait; }

  /// The next round waits for `length`.
  void begin(operation& op, clock::duration length) noexcept {
    begin(op, clock::now() + length, nullptr);
  }
  /// The next round waits until `again`, or until `sooner`, if not null, completes it.
  void begin(operation& op, clock::time_point again, waitable* sooner) noexcept {
    if (op.target) op.apply_default_timeout();
    limit_ = op.limited ? op.due : (clock::time_point::max)();
    request_wait(op, sooner ? sooner : this);
    op.limit_to(again < limit_ ? again : limit_);
  }
  /// After the round. True: the call continues. False: the call has ended; `op.error` says why.
  bool end(operation& op) noexcept {
    op.limit_to(limit_);
    if (!op.error) return true;
    if (op.error != failure(std::errc::timed_out) || clock::now() >= limit_) return false;
    op.cancellation = cancellation::requests;
    op.error = {};
    return true;
  }

  bool enter(operation&, completions&) noexcept override { return false; } // only time ends it
  void leave(operation&) noexcept override {}
  [[nodiscard]] const char* description() const noexcept override { return why_; }

private:
  const char* why_;
  clock::time_point limit_ = (clock::time_point::max)();
};

}}} // namespace rouse::ROUSE_ABI::detail
