// expect: rouse: co_await takes an awaitable
#include <rouse/rouse.hpp>

#include <future>

rouse::task<> wait(std::future<int>& answer) {
#ifdef BROKEN
  (void)co_await std::move(answer);
#else
  (void)answer.get();
  co_return;
#endif
}
