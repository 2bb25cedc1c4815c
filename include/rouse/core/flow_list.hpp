// The list of a waker's flows.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/flow.hpp>
#include <rouse/detail/intrusive_list.hpp>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// The flows that a waker has spawned. A flow is in the list until it is destroyed or orphaned.
class flow_list {
public:
  template <class F>
  void for_each_flow(F&& f) {
    flows_.for_each(f);
  }

  void add(flow& f) noexcept { flows_.push_back(f); }

  /// Takes over a new flow of `s` and makes the loop begin it. Adds the handle's reference.
  template <class Scheduler, class Flow>
  flow& start(Scheduler& s, Flow& f) noexcept {
    f.flow::owner = &s;
    f.hold();
    add(f);
    s.starter().start(f, s.engine());
    return f;
  }

  template <class Engine>
  void cancel_all(Engine& engine) noexcept {
    flows_.for_each([&](flow& f) { cancel_flow(engine, f); });
  }

  /// Called when the scheduler is destroyed. The destructors of a flow's coroutines may end others.
  template <class Engine>
  void orphan_all() noexcept {
    while (!flows_.empty()) static_cast<engine_flow<Engine>&>(flows_.front()).orphan();
  }

private:
  list<flow> flows_;
};

}}} // namespace rouse::ROUSE_ABI::detail
