// A peer that never answers.
#pragma once
#include <support/testing.hpp>

namespace testing {

/// A peer that never answers: a listener with a full queue.
template <class S>
struct silent_peer {
  S& sched;
  rouse::socket<S> listener;
  std::vector<rouse::socket<S>> crowd;

  explicit silent_peer(S& s) : sched(s), listener(s) {
    listener.bind({"127.0.0.1", 0});
    listener.listen(0);
    for (int waiting = 0; waiting != 16; ++waiting) {
      rouse::socket<S> c{sched};
      const auto r =
          await<rouse::done>(sched, CALL(c.connect(listener.local_endpoint(), 100ms, how...)));
      crowd.push_back(std::move(c));
      if (r.ec) return;
    }
    FAIL("the queue of the listener does not fill");
  }

  rouse::endpoint where() const { return listener.local_endpoint(); }
};

} // namespace testing
