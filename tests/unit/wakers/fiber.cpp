#include <support/testing.hpp>

using namespace testing;

namespace {

// The switches in words: "+a" when fiber a is switched in, "-a" when it is switched out.
class switches {
public:
  explicit switches(rouse::fibers& s) {
    s.on_switch([this](rouse::flow* out, rouse::flow* in) noexcept {
      if ((out == nullptr) == (in == nullptr)) log_ += '?';
      log_ += in ? '+' : '-';
      log_ += name(in ? in : out);
    });
  }
  void knows(char name, const rouse::flow* f) { names_.emplace_back(f, name); }
  [[nodiscard]] const std::string& log() const { return log_; }

private:
  char name(const rouse::flow* f) const {
    for (auto& [known, n] : names_) {
      if (known == f) return n;
    }
    return '?';
  }
  std::string log_;
  std::vector<std::pair<const rouse::flow*, char>> names_;
};

rouse::flow* of(rouse::flow_handle<rouse::fibers> h) {
  rouse::flow* const f = h.release();
  f->drop();
  return f;
}

} // namespace

TEST_CASE("on_switch: is called as each fiber begins, waits, continues and ends", "[unit][fiber]") {
  rouse::fibers sched;
  switches seen(sched);
  seen.knows('a', of(sched.spawn([&] { sched.yield(); })));
  seen.knows('b', of(sched.spawn([] {})));
  sched.run();
  CHECK(seen.log() == "+a-a+b-b+a-a");
}

TEST_CASE("on_switch: can give each fiber its own value of a thread's variable", "[unit][fiber]") {
  static int of_thread; // for the state that an interpreter keeps for a thread
  of_thread = 1000;
  rouse::fibers sched;
  rouse::flow_local<int> own{0};
  sched.on_switch([&](rouse::flow* out, rouse::flow* in) noexcept {
    if (out) *own = of_thread;
    of_thread = in ? *own : 1000;
  });
  std::vector<int> ends;
  for (int first : {10, 20, 30}) {
    sched.spawn([&, first] {
      of_thread = first;
      for (int i = 0; i != 3; ++i) {
        sched.yield();
        ++of_thread;
      }
      ends.push_back(of_thread);
    });
  }
  sched.run();
  CHECK(ends == std::vector{13, 23, 33});
  CHECK(of_thread == 1000);
}

TEST_CASE("on_switch: the values of a fiber are destroyed while it is switched in",
          "[unit][fiber]") {
  static const rouse::flow* in_now;
  static const rouse::flow* in_at_end;
  in_now = in_at_end = nullptr;
  struct value {
    value() = default;
    value(const value&) {}
    ~value() {
      if (in_now) in_at_end = in_now;
    }
  };
  rouse::fibers sched;
  rouse::flow_local<value> own;
  sched.on_switch([](rouse::flow*, rouse::flow* in) noexcept { in_now = in; });
  rouse::flow* const f = of(sched.spawn([&] { (void)*own; }));
  sched.run();
  CHECK(in_at_end == f);
  CHECK(in_now == nullptr);
}

TEST_CASE("on_switch: is called for a fiber that is unwound with its scheduler", "[unit][fiber]") {
  int comes_in = 0, goes_out = 0;
  {
    rouse::fibers sched;
    sched.on_switch([&](rouse::flow* out, rouse::flow* in) noexcept {
      comes_in += in ? 1 : 0;
      goes_out += out ? 1 : 0;
    });
    sched.spawn([&] { sched.sleep_until(rouse::deadline{}); });
    sched.poll();
    CHECK(comes_in == 1);
    CHECK(goes_out == 1);
  }
  CHECK(comes_in == 2);
  CHECK(goes_out == 2);
}

TEST_CASE("on_switch: nullptr removes the function", "[unit][fiber]") {
  rouse::fibers sched;
  int calls = 0;
  sched.on_switch([&](rouse::flow*, rouse::flow*) noexcept { ++calls; });
  sched.spawn([&] {
    sched.on_switch(nullptr);
    sched.yield();
  });
  sched.run();
  CHECK(calls == 1);
}

TEST_CASE("fiber_waker: a fiber may continue on another thread", "[unit][fiber]") {
  rouse::fibers sched;
  const rouse::flow *before = nullptr, *after = nullptr;
  sched.spawn([&] {
    before = rouse::detail::this_flow();
    sched.yield();
    after = rouse::detail::this_flow();
  });
  sched.run_once();
  REQUIRE(before);
  std::thread([&] { sched.run(); }).join();
  CHECK(after == before);
}

TEST_CASE("fiber_waker: a fiber that has run another scheduler's loop returns to its own",
          "[unit][fiber]") {
  rouse::fibers outer;
  std::vector<int> steps;
  outer.spawn([&] {
    rouse::fibers inner;
    inner.spawn([&] {
      inner.yield();
      steps.push_back(1);
    });
    inner.run();
    outer.yield();
    steps.push_back(2);
  });
  outer.run();
  CHECK(steps == std::vector{1, 2});
}
