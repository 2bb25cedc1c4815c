// The kqueue driver where an emulated kernel does what real ones do rarely.
#include <support/testing.hpp>

#if ROUSE_KQUEUE && ROUSE_LINUX
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace testing;
using kernel = kqueue_emulation::control;
using rouse::action;
using rouse::failure;
using time_point = rouse::clock::time_point;

namespace {

/// Two connected sockets; one end belongs to an engine.
template <class Engine>
struct fixture {
  struct counted : Engine::operation {
    counted() : Engine::operation(&counted::on_completed) {}
    static void on_completed(rouse::operation& op) noexcept {
      ++static_cast<counted&>(static_cast<typename Engine::operation&>(op)).completed;
    }
    int completed = 0;
  };

  fixture() {
    REQUIRE(engine);
    connect();
  }
  ~fixture() {
    close();
    engine->shut_down();
  }
  fixture(const fixture&) = delete;

  void connect() {
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    socket = engine->adopt(this, ends[0], AF_UNIX, SOCK_STREAM, why);
    REQUIRE(socket);
  }
  void close() {
    engine->give_back(*socket);
    ::close(ends[1]);
  }
  void start_recv(counted& op) {
    op.action = action::recv;
    op.target = socket;
    op.data = &byte;
    op.size = 1;
    REQUIRE_FALSE(engine->submit(op));
  }
  void finish(counted& op) {
    const auto until = rouse::clock::now() + patience;
    while (op.completed == 0) {
      engine->turn(rouse::clock::now() + 1s);
      REQUIRE(rouse::clock::now() < until);
    }
  }

  failure why;
  std::unique_ptr<Engine> engine = Engine::make(why);
  rouse::socket_state* socket = nullptr;
  int ends[2];
  char byte = 0;
};

using alone = fixture<rouse::kqueue_engine>;
using shared = fixture<rouse::basic_kqueue_engine<rouse::any_thread>>;

// A poll set that reports what the test wants.
struct scripted_set {
  static constexpr std::size_t generations = 64;
  static constexpr std::uint32_t readable = 1, writable = 2, urgent = 4, peer_closed = 8,
                                 broken = 16;
  using event_list = void* [1];
  static void* tag_of(void* e) { return e; }
  static std::uint32_t events_of(void*) { return readable; }

  failure open() { return {}; }
  failure watch_edges(rouse::native_handle_type, void* tag, bool) {
    watched = tag;
    return {};
  }
  failure watch_bytes(rouse::native_handle_type, void*) {
    return std::errc::operation_not_supported;
  }
  void remove(rouse::native_handle_type, bool) {}
  void prepare_wait(bool) {}
  int wait(event_list& events, time_point) {
    events[0] = next;
    return next ? 1 : 0;
  }
  void wake() {}
  [[nodiscard]] rouse::native_handle_type handle() const { return -1; }

  static inline void* watched = nullptr;
  static inline void* next = nullptr;
};

} // namespace

TEST_CASE("a thread that does everything registers a socket with the call that waits", "[kqueue]") {
  alone f;
  f.engine->turn(time_point::min());
  alone::counted op;
  const int before = kernel::calls;
  f.start_recv(op);
  CHECK(kernel::calls == before);
  CHECK(::write(f.ends[1], "x", 1) == 1);
  f.finish(op);
  CHECK(!op.error);
  CHECK(f.byte == 'x');
}

TEMPLATE_TEST_CASE("a registration that the kernel refuses ends the operation that waits",
                   "[kqueue]", alone, shared) {
  TestType f;
  f.engine->turn(time_point::min());
  typename TestType::counted op, next;
  op.action = action::recv;
  op.target = f.socket;
  op.data = &f.byte;
  op.size = 1;
  kernel::refuse_adds = ENOMEM;
  const bool at_once = f.engine->submit(op);
  if (!at_once) f.finish(op);
  kernel::refuse_adds = 0;
  CHECK(op.error == failure::from_os(ENOMEM));
  // The next one registers it anew.
  f.start_recv(next);
  CHECK(::write(f.ends[1], "y", 1) == 1);
  f.finish(next);
  CHECK(!next.error);
  CHECK(f.byte == 'y');
}

TEST_CASE("closing a socket takes back its registration that was put off", "[kqueue]") {
  alone f;
  f.engine->turn(time_point::min());
  const int refused = kernel::refused;
  {
    alone::counted op;
    f.start_recv(op);
    f.engine->abandon(op);
  }
  f.close();
  f.engine->turn(time_point::min());
  CHECK(kernel::refused == refused);
  f.connect(); // the number is that of the socket before
  alone::counted op;
  f.start_recv(op);
  CHECK(::write(f.ends[1], "z", 1) == 1);
  f.finish(op);
  CHECK(f.byte == 'z');
}

TEST_CASE("an event of a closed socket does not reach the next one with its record", "[kqueue]") {
  struct op_type : rouse::operation {
    op_type() : rouse::operation(nullptr) {}
  };
  rouse::poll_driver<scripted_set> driver;
  rouse::completions done;
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
  const std::unique_ptr<rouse::socket_state> s(driver.make_state());
  s->native = ends[0];
  s->family = AF_UNIX;
  s->type = SOCK_STREAM;
  char byte = 0;
  rouse::detail::no_mutex mutex;
  rouse::detail::no_lock lock(mutex);
  for (const bool stale : {true, false}) {
    op_type first, second;
    for (op_type* op : {&first, &second}) {
      op->action = action::recv;
      op->target = s.get();
      op->data = &byte;
      op->size = 1;
    }
    REQUIRE(!driver.attach(*s));
    REQUIRE_FALSE(driver.start(first));
    scripted_set::next = scripted_set::watched;
    driver.detach(*s, true);
    REQUIRE(!driver.attach(*s));
    REQUIRE_FALSE(driver.start(second));
    s->inbound.push_back(second);
    if (!stale) scripted_set::next = scripted_set::watched;
    REQUIRE(::write(ends[1], "x", 1) == 1);
    driver.wait(time_point::min(), lock, done);
    CHECK(s->inbound.empty() == !stale);
    second.unlink();
    if (stale) REQUIRE(::read(ends[0], &byte, 1) == 1);
    driver.detach(*s, true);
  }
  for (const int end : ends) ::close(end);
}

TEST_CASE("a kernel that never reports EVFILT_USER is woken by a pipe", "[kqueue]") {
  const punctual_kernel punctual;
  kernel::mute_user = true;
  rouse::os::kernel_queue q;
  REQUIRE(!q.create());
  kernel::mute_user = false;
  rouse::os::kernel_event events[rouse::os::kernel_queue::batch];
  const auto woken = [&] {
    const auto until = rouse::clock::now() + patience;
    while (rouse::clock::now() < until) {
      const int n = q.wait({}, events, until);
      for (int i = 0; i < n; ++i)
        if (!events[i].udata) return true;
    }
    return false;
  };
  for (int i = 0; i != 70'000; ++i) q.wake(); // more than a pipe holds
  CHECK(woken());
  q.wake();
  CHECK(woken());
}

TEST_CASE("a wait of more years than the kernel counts is no error", "[kqueue]") {
  rouse::os::kernel_queue q;
  REQUIRE(!q.create());
  q.wake();
  rouse::os::kernel_event events[rouse::os::kernel_queue::batch];
  int n = -1;
  for (int i = 0; i != 100 && n < 0; ++i) { // one may be interrupted by a signal
    n = q.wait({}, events, rouse::clock::now() + std::chrono::hours(24 * 365 * 20));
    if (n < 0) REQUIRE(errno == EINTR);
  }
  CHECK(n > 0);
}

TEST_CASE("a forked child does not close the file that has the number of the parent's kqueue",
          "[kqueue]") {
  std::optional<rouse::os::kernel_queue> q(std::in_place);
  REQUIRE(!q->create());
  const pid_t child = ::fork();
  if (child == 0) {
    const int number = q->get();
    if (::fcntl(number, F_GETFD) >= 0) ::_exit(1); // was inherited
    if (::dup2(0, number) != number) ::_exit(2);
    q.reset();
    ::_exit(::fcntl(number, F_GETFD) < 0 ? 3 : 0);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}
#endif
