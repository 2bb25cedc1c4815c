// What an engine does rarely: cancelling, wake-ups, its end, forked children.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/engines/engine.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

template <class D, class T>
template <class... Options>
std::unique_ptr<basic_engine<D, T>> basic_engine<D, T>::make(failure& why, Options... options) {
  std::unique_ptr<basic_engine> engine(new basic_engine);
  why = engine->driver_.open(*engine->buffers_, options...);
  if (why) return nullptr;
  return engine;
}

// ---- operations

// Most waits do not concern a socket.
template <class D, class T>
bool basic_engine<D, T>::submit_wait(operation& op) noexcept {
  if (op.awaited && !op.target) return submit(op, *op.awaited);
  lock_type lock(mutex_);
  op.forget_ignored_cancel();
  if (op.cancelled() || closing_ || op.target) return submit_elsewhere(op);
  add_pending(op, waiting_);
  return false;
}

template <class D, class T>
bool basic_engine<D, T>::may_start_after_all(operation& op) const noexcept {
  op.forget_ignored_cancel();
  return may_start(op);
}

template <class D, class T>
bool basic_engine<D, T>::arm(operation& op) noexcept {
  if (op.target) op.apply_default_timeout();
  if (!op.limited) return false;
  queue_.arm(op);
  if (T::shared && op.due < waits_until_) wake();
  return false;
}

template <class D, class T>
void basic_engine<D, T>::defer(operation& op) noexcept {
  lock_type lock(mutex_);
  if (inert_) return refuse_later(op);
  queue_.add_ready(op);
}

template <class D, class T>
bool basic_engine<D, T>::count(operation& op) noexcept {
  lock_type lock(mutex_);
  if (inert_ || queue_.within_budget()) return true;
  queue_.defer(op);
  return false;
}

template <class D, class T>
void basic_engine<D, T>::cancel(rouse::operation& op) noexcept {
  lock_type lock(mutex_);
  end(op);
}

template <class D, class T>
void basic_engine<D, T>::set(one_shot_event& event) noexcept {
  with_completions([&](completions& completed) { event.set(completed); });
  wake_others(); // a thread that runs the loop may be waiting for the end of a flow
}

template <class D, class T>
void basic_engine<D, T>::request_stop(stop_request& r) noexcept {
  if constexpr (T::shared) return cancel(*r.op); // perhaps no thread runs the loop
  r.sent.store(true, std::memory_order_relaxed); // withdraw() runs after this call has returned
  mailbox_.stops.push(r);
  wake();
}

template <class D, class T>
void basic_engine<D, T>::withdraw(stop_request& r) noexcept {
  if (!r.sent.load(std::memory_order_relaxed)) return;
  lock_type lock(mutex_);
  run_stops();
}

template <class D, class T>
bool basic_engine<D, T>::submit_other(operation& op) noexcept {
  if (op.target && op.action < action::wait)
    return submit_to(driver_, op, [&]() -> list_type& { return op.target->queue_of(op); });
  lock_type lock(mutex_);
  op.forget_ignored_cancel();
  return submit_elsewhere(op);
}

// What does not go to the kernel, or no longer does.
template <class D, class T>
bool basic_engine<D, T>::submit_elsewhere(operation& op) noexcept {
  if (inert_) {
    op.error = op.cancelled() ? op.cancel_error() : failure(std::errc::operation_not_permitted);
    return true;
  }
  return start_elsewhere(op) && queue_.complete_at_once(op);
}

// True: done.
template <class D, class T>
bool basic_engine<D, T>::start_elsewhere(operation& op) noexcept {
  if (op.cancelled() || closing_) {
    if (closing_) note_refusal();
    op.error = op.cancel_error();
    return true;
  }
  if (!op.target) { // a yield
    queue_.put_off(op);
    wake_others();
    return false;
  }
  if (op.continues && op.cancel_count != op.target->cancel_count)
    op.error = std::errc::operation_canceled;
  else if (!op.target->open())
    op.error = std::errc::bad_file_descriptor;
  if (op.error) return true;
  op.cancel_count = op.target->cancel_count;
  if (op.awaited && enter(op, *op.awaited)) return true;
  add_pending(op, op.target->paused);
  return false;
}

// The engine ends. A flow that no scheduler can end (a coroutine of another library, for example)
// may go on calling for ever.
template <class D, class T>
void basic_engine<D, T>::note_refusal() noexcept {
  if (refusals_left_-- != 0) return;
  std::fputs("rouse: a scheduler is being destroyed, and its waiting calls end with "
             "operation_canceled, but they are made again without end\n",
             stderr);
  std::abort();
}

template <class D, class T>
void basic_engine<D, T>::end(rouse::operation& base, cancel_reason why) noexcept {
  auto& op = static_cast<operation&>(base);
  // A cancel outranks a limit, and the kernel hears of the first request only.
  const bool requested = op.cancelled();
  if (requested && why != cancel_reason::request) return;
  op.cancel_reason = why;
  if (!op.waits() || requested || op.cancellation == cancellation::none) return;
  if (inert_) return; // it is the parent's, and this process's driver does not know it
  if (op.state == operation_state::direct) return direct_.interrupt(op);
  completions& done = queue_.done();
  if (op.action == action::wait || op.outside_of_driver()) {
    if (op.action == action::wait && op.awaited) op.awaited->leave(op);
    done.add(op, std::errc::operation_canceled, 0);
  } else {
    driver_.request_cancel(op, done);
  }
  wake_others();
}

template <class D, class T>
bool basic_engine<D, T>::abandon(operation& op) noexcept {
  lock_type lock(mutex_);
  if (inert_) return queue_.forget(op);
  if (op.waits()) end(op);
  while (op.waits()) reap(lock);
  if (op.state == operation_state::idle) return false;
  queue_.remove(op);
  return true;
}

template <class D, class T>
std::size_t basic_engine<D, T>::run_mail(lock_type& lock) noexcept {
  run_stops();
  std::size_t done = 0;
  lock.unlock();
  mailbox_.posted.take([&](posted& p) {
    if (inert_) return; // one of them has forked: the others belong to the parent
    ++done;
    p.run(p, true);
  });
  lock.lock();
  return done;
}

template <class D, class T>
std::exception_ptr basic_engine<D, T>::take_raised() noexcept {
  detail::raised* oldest = nullptr;
  {
    lock_type lock(mutex_);
    oldest = raised_.pop();
  }
  return oldest ? oldest->take() : nullptr; // without the lock: it may destroy a flow
}

template <class D, class T>
void basic_engine<D, T>::shut_down() noexcept {
  {
    lock_type lock(mutex_);
    closing_ = true;
    refusals_left_ = 1000 * (queue_.active() + 1000); // far more than an orderly end makes
    waiting_.for_each([&](rouse::operation& op) { end(op); });
    open_.for_each([&](socket_state& s) { cancel_all(s); });
  }
  drop_posted();
  while (!idle()) turn((clock::time_point::max)());
  lock_type lock(mutex_);
  while (direct_.threads() != 0) waited_.wait(lock);
}

// ---- the loop

template <class D, class T>
basic_engine<D, T>::~basic_engine() {
  home_->close(); // nothing can be posted any more
  drop_posted();
  while (!spare_.empty()) delete &spare_.pop_front();
}

template <class D, class T>
bool basic_engine<D, T>::usable_here() const noexcept {
  if constexpr (requires { driver_.usable_here(); })
    return driver_.usable_here();
  else
    return true;
}

template <class D, class T>
native_handle_type basic_engine<D, T>::wait_handle() noexcept {
  if constexpr (requires { driver_.wait_handle(); })
    return driver_.wait_handle();
  else
    return os::no_handle;
}

template <class D, class T>
void basic_engine<D, T>::reap(lock_type& lock) noexcept {
  if constexpr (T::shared) {
    if (waits_) return waited_.wait(lock);
  }
  wait(driver_, (clock::time_point::max)(), lock);
}

template <class D, class T>
clock::time_point basic_engine<D, T>::next_limit(clock::time_point until) const noexcept {
  const auto next = queue_.next_limit();
  return next < until ? next : until;
}

template <class D, class T>
std::size_t basic_engine<D, T>::active() noexcept {
  lock_type lock(mutex_);
  return queue_.active();
}

template <class D, class T>
clock::time_point basic_engine<D, T>::prepare_foreign_wait() noexcept
  requires(!T::shared)
{
  lock_type lock(mutex_);
  bool quiet;
  do quiet = wait_outside(lock);
  while (!mailbox_.fall_asleep_outside());
  if (quiet && queue_.nothing_ready() && queue_.nothing_deferred() && mailbox_.empty())
    return queue_.next_limit();
  mailbox_.note_interruption(); // the next turn looks into the mailbox
  return (clock::time_point::min)();
}

// Clears the wait handle. False: something has happened already.
template <class D, class T>
bool basic_engine<D, T>::wait_outside(lock_type& lock) noexcept {
  wait(driver_, (clock::time_point::min)(), lock);
  if constexpr (requires(completions& done) { driver_.arm_wait_handle(done); }) {
    const bool quiet = driver_.arm_wait_handle(queue_.done());
    if (queue_.take_interruption()) mailbox_.note_interruption();
    return quiet;
  }
  return true;
}

template <class D, class T>
bool basic_engine<D, T>::has_nothing_to_do() const noexcept {
  return queue_.active() == direct_.threads() && mailbox_.posted.empty();
}

template <class D, class T>
bool basic_engine<D, T>::idle() noexcept {
  lock_type lock(mutex_);
  return has_nothing_to_do();
}

template <class D, class T>
bool basic_engine<D, T>::any_raised() noexcept {
  lock_type lock(mutex_);
  return !raised_.empty();
}

template <class D, class T>
void basic_engine<D, T>::raise(std::exception_ptr e) noexcept {
  lock_type lock(mutex_);
  raised_.add(std::move(e));
}

template <class D, class T>
void basic_engine<D, T>::raise(detail::raised& r) noexcept {
  lock_type lock(mutex_);
  raised_.add(r);
}

template <class D, class T>
template <class F>
void basic_engine<D, T>::for_each_operation(F visit) {
  const auto show = [&](rouse::operation& op) { visit(static_cast<const operation&>(op)); };
  lock_type lock(mutex_);
  if (inert_) return;
  open_.for_each([&](socket_state& s) {
    s.for_each_queue([&](list_type& pending) { pending.for_each(show); });
  });
  waiting_.for_each(show);
  queue_.for_each(show);
}

template <class D, class T>
void basic_engine<D, T>::run_stops() noexcept {
  mailbox_.stops.take([&](stop_request& r) { end(*r.op); });
}

template <class D, class T>
void basic_engine<D, T>::drop_posted() noexcept {
  mailbox_.posted.take([](posted& p) { p.run(p, false); });
}

// ---- in a forked child

template <class D, class T>
void basic_engine<D, T>::belong_to_process() noexcept {
  lock_type lock(mutex_);
  used_ = true;
}

// An engine that nothing has used works on; any other becomes inert.
template <class D, class T>
void basic_engine<D, T>::forked() noexcept {
  if constexpr (T::shared) { // a thread that does not exist here may hold them
    ::new (&mutex_) typename T::mutex;
    ::new (&waited_) typename T::condition;
  }
  home_->renew_lock();
  buffers_->renew_lock();
  waits_ = false;
  mailbox_.renew();
  if (inert_) return;
  bool used = used_;
  open_.for_each([&](socket_state& s) { used |= s.busy(); });
  // The kernel interface is the parent's: this process's handles of it are closed.
  std::destroy_at(&driver_);
  std::construct_at(&driver_);
  if (used || driver_.open(*buffers_)) return become_inert();
  direct_.renew();
  open_.for_each([&](socket_state& s) { (void)driver_.attach(s); });
}

// The operations in progress stay where they are, for ever. So does what was posted.
template <class D, class T>
void basic_engine<D, T>::become_inert() noexcept {
  inert_ = closing_ = true;
  queue_.abandon();
  mailbox_.forget();
}

template <class D, class T>
void basic_engine<D, T>::refuse_later(operation& op) noexcept {
  op.state = operation_state::ready;
  refused_.push_back(op);
}

template <class D, class T>
std::size_t basic_engine<D, T>::complete_refused() noexcept {
  lock_type lock(mutex_);
  list_type now; // what is refused meanwhile has to wait
  while (!refused_.empty()) now.push_back(refused_.pop_front());
  std::size_t done = 0;
  for (; !now.empty(); ++done) {
    rouse::operation& op = now.pop_front();
    op.state = operation_state::idle;
    lock.unlock();
    op.complete(op);
    lock.lock();
  }
  return done;
}

template <class D, class T>
void basic_engine<D, T>::refuse(rouse::operation& op) noexcept {
  {
    lock_type lock(mutex_);
    if (!queue_.forget(op)) return;
  }
  op.error = std::errc::operation_not_permitted;
  op.complete(op);
}

template <class D, class T>
void basic_engine<D, T>::leave_behind() noexcept {
  static basic_engine* newest = nullptr;
  left_before_ = std::exchange(newest, this); // reachable, so that no leak checker reports it
}

}} // namespace rouse::ROUSE_ABI
