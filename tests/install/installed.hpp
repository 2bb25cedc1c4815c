// A scheduler with install(), for one test. Linux.
#pragma once
#include "support/testing.hpp"

#include <rouse/install.hpp>

#include <utility>

namespace testing {

struct installed {
  rouse::fibers sched;
  installed() { rouse::install(sched); }
  ~installed() { rouse::uninstall(); }
  template <class... F>
  void run(F... flows) {
    (sched.spawn(std::move(flows)), ...);
    sched.run();
  }
};

} // namespace testing
