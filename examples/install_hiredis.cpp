// hiredis' blocking calls, first one after the other, then in fibers of one thread: each request
// waits 0.1 s for a list that stays empty. Needs a running redis-server; link with -lhiredis.
#include <rouse/install.hpp>
#include <rouse/rouse.hpp>

#include <hiredis/hiredis.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>

static constexpr int requests = 20;

// Nothing below refers to rouse.
static bool ask(int port) {
  const std::unique_ptr<redisContext, void (*)(redisContext*)> c(redisConnect("127.0.0.1", port),
                                                                 &redisFree);
  if (!c || c->err) return false;
  auto* reply = static_cast<redisReply*>(redisCommand(c.get(), "BLPOP rouse:empty 0.1"));
  const bool answered = reply && reply->type == REDIS_REPLY_NIL;
  freeReplyObject(reply);
  return answered;
}

template <class F>
static double seconds(F f) {
  const auto begun = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

int main(int argc, char** argv) {
  const int port = argc > 1 ? std::atoi(argv[1]) : 6379;
  rouse::fibers sched;
  rouse::install(sched);
  int answered = 0;
  const double in_turn = seconds([&] { // outside of fibers, the calls block
    for (int i = 0; i != requests; ++i) answered += ask(port);
  });
  const double together = seconds([&] {
    for (int i = 0; i != requests; ++i) sched.spawn([&] { answered += ask(port); });
    sched.run();
  });
  std::cout << answered << " of " << 2 * requests << " requests answered; " << requests
            << " in turn: " << in_turn << " s, in fibers of one thread: " << together
            << " s, engine: " << sched.engine_report() << std::endl;
  return answered == 2 * requests && together < in_turn / 2 ? 0 : 1;
}
