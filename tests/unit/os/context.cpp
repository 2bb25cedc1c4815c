#include <rouse/rouse.hpp>

#include <catch2/catch.hpp>

#if !ROUSE_WINDOWS
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#endif
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include <array>
#include <cfenv>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using rouse::os::context;

namespace {

/// A function with its own stack, which can yield.
class flow {
public:
  static constexpr std::size_t default_stack = std::size_t{256} << 10;

  explicit flow(std::function<void(flow&)> body, std::size_t stack = default_stack)
      : body_(std::move(body)) {
    REQUIRE(!place.create(stack, &flow::enter, this));
  }

  /// Called in `from`: continues this function until it yields or ends.
  void resume(context& from) {
    back_ = &from;
    from.enter_thread();
    context::switch_to(from, place);
  }
  void yield() { context::switch_to(place, *back_); }

  void begin_anew(std::function<void(flow&)> body) {
    body_ = std::move(body);
    ended = false;
    place.reset(&flow::enter, this);
  }

  context place;
  bool ended = false;

private:
  static void enter(void* self) noexcept {
    auto& me = *static_cast<flow*>(self);
    me.body_(me);
    me.ended = true;
    context::leave_to(me.place, *me.back_);
  }

  std::function<void(flow&)> body_;
  context* back_ = nullptr;
};

/// The text of the current exception.
std::string handled() {
  try {
    throw;
  } catch (const std::exception& e) {
    return e.what();
  }
}

/// Throws and catches, which would disturb exceptions that contexts shared.
void disturb_exceptions() {
  try {
    throw std::runtime_error("a disturbance");
  } catch (const std::exception&) {
    try {
      throw std::logic_error("another");
    } catch (...) {
    }
  }
}

/// Holds at least as many values across `in_between` as there are registers.
template <class T, class F>
ROUSE_NOINLINE T hold_many(const volatile T* seed, F in_between) {
  const T a = seed[0], b = seed[1], c = seed[2], d = seed[3], e = seed[4], f = seed[5], g = seed[6],
          h = seed[7], i = seed[8], j = seed[9], k = seed[10], l = seed[11];
  in_between();
  return a + 2 * b + 3 * c + 5 * d + 7 * e + 11 * f + 13 * g + 17 * h + 19 * i + 23 * j + 29 * k +
         31 * l;
}

template <class T, class Switch>
void keeps_values() {
  const std::array<T, 12> ones{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  const std::array<T, 12> twos{2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2};
  context main;
  T inside{};
  flow f([&](flow& me) { inside = hold_many(twos.data(), [&] { Switch::yield(me); }); });
  const T outside = hold_many(ones.data(), [&] { Switch::resume(f, main); });
  f.resume(main);
  CHECK(outside == T{161});
  CHECK(inside == T{322});
}

/// Quotients of which some differ between any two rounding modes.
template <class T>
ROUSE_NOINLINE std::array<T, 3> quotients() {
  const volatile T one = 1, three = 3, ten = 10;
  const volatile T a = one / three, b = -one / three, c = one / ten;
  return {a, b, c};
}

struct in_place {
  static void yield(flow& f) { f.yield(); }
  static void resume(flow& f, context& from) { f.resume(from); }
};

struct in_a_call {
  ROUSE_NOINLINE static void yield(flow& f) { f.yield(); }
  ROUSE_NOINLINE static void resume(flow& f, context& from) { f.resume(from); }
};

/// Yields in each call of a recursion, on the way down and on the way up.
std::size_t descend(flow& me, std::size_t depth) {
  const volatile std::size_t mine = depth;
  me.yield();
  const std::size_t below = depth == 0 ? 0 : descend(me, depth - 1);
  me.yield();
  return below + mine;
}

/// Yields while an exception unwinds.
struct yields_when_destroyed {
  flow& me;
  std::string& log;
  const char* name;
  ~yields_when_destroyed() {
    log += name;
    me.yield();
    log += name;
  }
};

} // namespace

TEST_CASE("context: begins with its argument at the first switch to it", "[context]") {
  struct place {
    context main, own;
    int value = 0;
  } p;
  REQUIRE(!p.own.create(
      65536,
      [](void* argument) noexcept {
        auto& mine = *static_cast<place*>(argument);
        mine.value = 1;
        context::leave_to(mine.own, mine.main);
      },
      &p));
  CHECK(p.value == 0);
  p.main.enter_thread();
  context::switch_to(p.main, p.own);
  p.main.leave_thread();
  CHECK(p.value == 1);
}

TEST_CASE("context: continues where it was at the next switch to it", "[context]") {
  context main;
  std::string log;
  flow f([&](flow& me) {
    log += 'b';
    me.yield();
    log += 'd';
  });
  log += 'a';
  f.resume(main);
  log += 'c';
  CHECK(!f.ended);
  f.resume(main);
  log += 'e';
  CHECK(f.ended);
  CHECK(log == "abcde");
}

TEST_CASE("context: the stack is aligned as after a call", "[context]") {
  context main;
  volatile std::uintptr_t address = 1;
  std::string written;
  flow f([&](flow&) {
    alignas(16) char local[16];
    address = reinterpret_cast<std::uintptr_t>(local);
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), "%.2f %.1Lf", 1.25, 2.5L);
    written = text.data();
  });
  f.resume(main);
  CHECK(address % 16 == 0);
  CHECK(written == "1.25 2.5");
}

TEST_CASE("context: the stack has the requested size", "[context]") {
  context main;
  std::size_t touched = 0;
  flow f(
      [&](flow&) {
        volatile char block[1000 * 1000];
        for (std::size_t i = sizeof block; i-- != 0; ++touched) block[i] = 1;
      },
      std::size_t{1} << 20);
  f.resume(main);
  CHECK(touched == 1000 * 1000);
}

TEST_CASE("context: a stack that no memory can hold is an error", "[context]") {
  context c;
  CHECK(c.create(~std::size_t{0}, [](void*) noexcept {}, nullptr) == std::errc::not_enough_memory);
}

TEMPLATE_TEST_CASE("context: values live across a switch on both sides", "[context]", std::uint64_t,
                   double) {
  keeps_values<TestType, in_place>();
}

TEMPLATE_TEST_CASE("context: values live across a call that switches, on both sides", "[context]",
                   std::uint64_t, double) {
  keeps_values<TestType, in_a_call>();
}

#if !ROUSE_WINDOWS // fibers under Wine share the rounding mode
TEMPLATE_TEST_CASE("context: each context has its own rounding mode", "[context]", double,
                   long double) {
  // On x86-64, fegetround looks at the control word of the x87 only, and a double is computed with
  // that of SSE. So the results of divisions are compared.
  constexpr std::array modes{FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
  std::array<std::array<TestType, 3>, modes.size()> right;
  for (std::size_t i = 0; i != modes.size(); ++i) {
    std::fesetround(modes[i]);
    right[i] = quotients<TestType>();
  }
  std::fesetround(FE_TONEAREST);
  for (std::size_t i = 0; i != modes.size(); ++i)
    for (std::size_t j = 0; j != i; ++j) REQUIRE(right[i] != right[j]);

  int wrong = 0;
  std::vector<std::unique_ptr<flow>> all;
  for (std::size_t i = 0; i != modes.size(); ++i)
    all.push_back(std::make_unique<flow>([&, i](flow& me) {
      std::fesetround(modes[i]);
      for (std::size_t turn = 0; turn != 2 * modes.size(); ++turn) {
        me.yield();
        wrong += quotients<TestType>() != right[i];
      }
    }));
  // Each mode switches to each and back, first from the thread's own flow, then from another.
  const auto switch_from = [&](context& from) {
    for (std::size_t i = 0; i != modes.size(); ++i)
      for (auto& f : all) {
        std::fesetround(modes[i]);
        f->resume(from);
        wrong += quotients<TestType>() != right[i];
      }
  };
  context main;
  for (auto& f : all) f->resume(main);
  std::fesetround(FE_UPWARD);
  switch_from(main);
  flow other([&](flow& me) { switch_from(me.place); });
  other.resume(main);
  std::fesetround(FE_TONEAREST);
  for (auto& f : all) CHECK(f->ended);
  CHECK(wrong == 0);
}
#endif

#if defined(__x86_64__) && !ROUSE_WINDOWS
TEST_CASE("context: control bits of SSE are kept without a change of the x87's", "[context]") {
  constexpr unsigned to_zero = 0x8040, masks = 0x1f80, status = 0x3f; // to_zero: FTZ, DAZ
  const auto bits = [] { return _mm_getcsr() & ~status; };
  const unsigned mine = bits();
  context main;
  unsigned inside = 0, later = 0;
  flow f([&](flow& me) {
    _mm_setcsr(mine | to_zero);
    me.yield();
    inside = bits();
    _mm_setcsr(mine & ~masks); // all exceptions are raised
    me.yield();
    later = bits();
  });
  f.resume(main);
  CHECK(bits() == mine);
  f.resume(main);
  CHECK(bits() == mine);
  f.resume(main);
  CHECK(bits() == mine);
  CHECK(inside == (mine | to_zero));
  CHECK(later == (mine & ~masks));
}
#endif

TEST_CASE("context: two contexts alternate a hundred thousand times", "[context]") {
  context main;
  std::size_t turns = 0;
  flow f([&](flow& me) {
    for (; turns != 100'000; ++turns) me.yield();
  });
  while (!f.ended) f.resume(main);
  CHECK(turns == 100'000);
}

TEST_CASE("context: can yield deep in a recursion", "[context]") {
  context main;
  std::size_t sum = 0, turns = 0;
  flow f([&](flow& me) { sum = descend(me, 200); });
  for (; !f.ended; ++turns) f.resume(main);
  CHECK(sum == 200 * 201 / 2);
  CHECK(turns == 2 * 201 + 1);
}

TEST_CASE("context: can switch to another, which switches to the next", "[context]") {
  constexpr std::size_t count = 100;
  context main;
  std::vector<std::unique_ptr<flow>> chain;
  std::vector<std::size_t> log;
  for (std::size_t i = 0; i < count; ++i)
    chain.push_back(std::make_unique<flow>([&, i](flow& me) {
      log.push_back(i);
      if (i + 1 < count) chain[i + 1]->resume(me.place);
      log.push_back(i);
    }));
  chain[0]->resume(main);
  REQUIRE(log.size() == 2 * count);
  bool mirrored = true;
  for (std::size_t i = 0; i < count; ++i)
    mirrored = mirrored && log[i] == i && log[2 * count - 1 - i] == i;
  CHECK(mirrored);
}

TEST_CASE("context: after a reset another function begins on the same stack", "[context]") {
  context main;
  std::vector<int> log;
  flow f([&](flow&) { log.push_back(1); });
  f.resume(main);
  for (int i = 2; i < 5; ++i) {
    f.begin_anew([&, i](flow& me) {
      me.yield();
      log.push_back(i);
    });
    f.resume(main);
    f.resume(main);
    CHECK(f.ended);
  }
  CHECK(log == std::vector{1, 2, 3, 4});
}

TEST_CASE("context: an exception finds the handler on its stack after switches", "[context]") {
  context main;
  std::string caught;
  flow f([&](flow& me) {
    try {
      me.yield();
      std::vector<int>(1).at(static_cast<std::size_t>(descend(me, 3)));
    } catch (const std::out_of_range&) {
      caught = "out_of_range";
    }
  });
  while (!f.ended) f.resume(main);
  CHECK(caught == "out_of_range");
}

TEST_CASE("context: an exception is still handled after a switch inside its handler", "[context]") {
  context main;
  std::string before, after;
  flow f([&](flow& me) {
    try {
      throw std::runtime_error("mine");
    } catch (const std::exception&) {
      before = handled();
      me.yield();
      after = handled();
    }
  });
  f.resume(main);
  CHECK(!std::current_exception());
  disturb_exceptions();
  f.resume(main);
  CHECK(before == "mine");
  CHECK(after == "mine");
}

TEST_CASE("context: two contexts that yield inside handlers keep their exceptions", "[context]") {
  context main;
  std::string first, second, nested;
  flow a([&](flow& me) {
    try {
      throw std::runtime_error("a");
    } catch (const std::exception&) {
      me.yield();
      first = handled();
    }
  });
  flow b([&](flow& me) {
    try {
      throw std::runtime_error("b");
    } catch (const std::exception&) {
      me.yield();
      try {
        throw std::runtime_error("b in b");
      } catch (const std::exception&) {
        me.yield();
        nested = handled();
      }
      second = handled();
    }
  });
  a.resume(main);
  b.resume(main);
  b.resume(main);
  a.resume(main); // ends its handler while b is inside two handlers
  CHECK(a.ended);
  b.resume(main);
  CHECK(b.ended);
  CHECK(first == "a");
  CHECK(nested == "b in b");
  CHECK(second == "b");
}

TEST_CASE("context: one that is begun inside a handler has no current exception", "[context]") {
  context main;
  bool none = false;
  flow f([&](flow&) { none = !std::current_exception(); });
  try {
    throw std::runtime_error("outside");
  } catch (const std::exception&) {
    f.resume(main);
    CHECK(handled() == "outside");
  }
  CHECK(none);
}

TEST_CASE("context: uncaught_exceptions counts those of the current context only", "[context]") {
  context main;
  int inside = -1;
  struct looks {
    flow& me;
    int& count;
    ~looks() {
      me.yield();
      count = std::uncaught_exceptions();
    }
  };
  flow f([&](flow& me) {
    try {
      looks l{me, inside};
      throw 1;
    } catch (int) {
    }
  });
  f.resume(main);
  CHECK(std::uncaught_exceptions() == 0);
  disturb_exceptions();
  f.resume(main);
  CHECK(inside == 1);
}

TEST_CASE("context: destructors can yield while an exception unwinds", "[context]") {
  context main;
  std::string log, caught;
  flow f([&](flow& me) {
    try {
      yields_when_destroyed a{me, log, "a"};
      yields_when_destroyed b{me, log, "b"};
      throw std::runtime_error("passed");
    } catch (const std::exception&) {
      caught = handled();
    }
  });
  while (!f.ended) {
    f.resume(main);
    log += '.';
    disturb_exceptions();
  }
  CHECK(log == "b.ba.a.");
  CHECK(caught == "passed");
}

TEST_CASE("context: many contexts throw and catch alternately", "[context]") {
  constexpr int count = 50, rounds = 100;
  context main;
  int right = 0;
  std::vector<std::unique_ptr<flow>> all;
  for (int i = 0; i < count; ++i)
    all.push_back(std::make_unique<flow>([&, i](flow& me) {
      for (int r = 0; r < rounds; ++r) {
        const std::string mine = std::to_string(i * rounds + r);
        try {
          me.yield();
          throw std::runtime_error(mine);
        } catch (const std::exception&) {
          me.yield();
          right += handled() == mine;
        }
      }
    }));
  while (!all.back()->ended)
    for (auto& f : all) f->resume(main);
  CHECK(right == count * rounds);
}

TEST_CASE("context: another thread can continue it with its exception", "[context]") {
  context main;
  std::vector<std::string> seen;
  flow f([&](flow& me) {
    try {
      throw std::runtime_error("mine");
    } catch (const std::exception&) {
      for (int i = 0; i < 4; ++i) {
        me.yield();
        seen.push_back(handled());
      }
    }
  });
  f.resume(main);
  bool clean = true;
  while (!f.ended) {
    std::thread([&] {
      context other;
      f.resume(other);
      clean = clean && !std::current_exception();
    }).join();
    clean = clean && !std::current_exception();
  }
  CHECK(clean);
  CHECK(seen == std::vector<std::string>(4, "mine"));
}

#if !ROUSE_WINDOWS
TEST_CASE("context: a guard page below the stack ends the program", "[context]") {
  rouse::os::detail::stack_memory stack;
  REQUIRE(!stack.allocate(std::size_t{64} << 10));
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL); // a sanitizer's handler would end with a report
    *static_cast<volatile char*>(stack.bottom()) = 1;
    *static_cast<volatile char*>(stack.bottom() - 1) = 1;
    ::_exit(0);
  }
  REQUIRE(child > 0);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV));
}

TEST_CASE("context: there is room for more stacks than a process has mappings", "[context]") {
  // Only if the kernel has guard pages within a mapping, since Linux 6.13; otherwise half as many.
  // An emulator may accept the advice and ignore it.
  rouse::os::detail::stack_memory probe;
  REQUIRE(!probe.allocate(0));
  constexpr int populate_read = 22, guard_install = 102;
  if (::madvise(probe.bottom(), 4096, guard_install) != 0 ||
      ::madvise(probe.bottom(), 4096, populate_read) == 0) {
    WARN("skipped: this kernel has no guard pages within a mapping");
    return;
  }
  std::vector<std::unique_ptr<rouse::os::detail::stack_memory>> stacks;
  while (stacks.size() != 70'000) {
    stacks.push_back(std::make_unique<rouse::os::detail::stack_memory>());
    if (stacks.back()->allocate(0)) break;
  }
  CHECK(stacks.size() == 70'000);
}
#endif
