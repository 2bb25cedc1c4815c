// A waker that does not wait: every call returns a std::future of its value. Such a waker defines
// `initiate` itself. Here, an echo service of threads that get() the results.
#include <rouse/rouse.hpp>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <future>
#include <iostream>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

// The call from its start to its completion, with the promise for its result.
template <class Engine, class Call, class Limit>
class future_call final
    : public rouse::pending_call<Engine, Call, Limit, future_call<Engine, Call, Limit>> {
  using base = rouse::pending_call<Engine, Call, Limit, future_call>;
  friend base;
  using value_type = typename Call::value_type;

public:
  static std::future<value_type> begin(Engine* engine, Call call, Limit limit) {
    std::unique_ptr<future_call> self(new future_call(engine, std::move(call), std::move(limit)));
    std::future<value_type> future = self->promise_.get_future();
    if (future_call* started = self.release(); started->start()) started->deliver();
    return future; // the call may be complete and destroyed by now
  }

private:
  using base::base;

  void deliver() noexcept {
    std::unique_ptr<future_call> self(this);
    std::promise<value_type> promise = std::move(promise_);
    std::optional<value_type> value;
    std::exception_ptr thrown;
    try {
      value.emplace(this->take(nullptr));
    } catch (...) {
      thrown = std::current_exception();
    }
    self.reset(); // first: the woken thread may destroy the scheduler
    if (thrown)
      promise.set_exception(thrown);
    else
      promise.set_value(*std::move(value));
  }

  std::promise<value_type> promise_;
};

struct future_waker {
  // A call takes no further arguments: an error becomes the future's exception.
  template <class Value, class... How>
  static constexpr bool accepts = sizeof...(How) == 0;

  template <class Scheduler, class Call, class Limit>
  static auto initiate(Scheduler* s, Call call, Limit limit) {
    using engine = typename Scheduler::engine_type;
    return future_call<engine, Call, Limit>::begin(s ? &s->engine() : nullptr, std::move(call),
                                                   std::move(limit));
  }
};

// The engine is shared: any thread may call.
using scheduler = rouse::basic_scheduler<rouse::shared_native_engine, future_waker>;

void echo(rouse::socket<scheduler> conn) {
  std::array<char, 4096> buf;
  try {
    while (auto n = conn.recv(buf).get()) conn.send_all({buf.data(), n}).get();
  } catch (const std::system_error&) {
  } // ends this connection only
}

void serve(rouse::socket<scheduler>& listener) {
  for (auto next = listener.accept();;) {
    auto conn = next.get();
    next = listener.accept(); // goes on while this thread does something else
    std::thread([conn = std::move(conn)]() mutable { echo(std::move(conn)); }).detach();
  }
}

int main(int argc, char** argv) {
  const auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0);
  scheduler sched;
  rouse::socket listener{sched};
  listener.bind({"127.0.0.1", port});
  listener.listen();
  std::cout << "listening on 127.0.0.1:" << listener.local_endpoint().port()
            << ", engine: " << sched.engine_report() << std::endl;
  std::thread([&] { serve(listener); }).detach();
  for (;;) sched.run(); // returns when nothing waits, as before the first accept
}
