// How an engine opens and closes sockets.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/engines/engine.hpp>
#include <rouse/os/socket.hpp>

#include <cstdint>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

template <class D, class T>
void basic_engine<D, T>::close(socket_state& s) noexcept {
  lock_type lock(mutex_);
  close(s, lock);
}

template <class D, class T>
void basic_engine<D, T>::cancel(socket_state& s) noexcept {
  lock_type lock(mutex_);
  cancel_all(s);
}

template <class D, class T>
bool basic_engine<D, T>::busy(const socket_state& s, bool inward) noexcept {
  lock_type lock(mutex_);
  return !(inward ? s.inbound : s.outbound).empty() || direct_.any(s, inward);
}

template <class D, class T>
void basic_engine<D, T>::cancel_all(socket_state& s) noexcept {
  ++s.cancel_count; // seen by calls that are between two rounds
  s.for_each_queue(
      [&](list_type& pending) { pending.for_each([&](rouse::operation& op) { end(op); }); });
}

template <class D, class T>
socket_state* basic_engine<D, T>::open(void* owner, int family, int type, int protocol,
                                       failure& why) noexcept {
  native_handle_type h = os::no_handle;
  why = sockets::open(family, type, protocol, driver_.blocking_handles(), h);
  if (why) return nullptr;
  socket_state* s = adopt(owner, h, family, type, why);
  if (s)
    s->unconnected = sockets::must_connect(type);
  else
    sockets::close(h);
  return s;
}

template <class D, class T>
socket_state* basic_engine<D, T>::adopt(void* owner, native_handle_type h, failure& why) noexcept {
  int family = 0, type = 0;
  why = sockets::describe(h, family, type);
  if (!why) why = sockets::set_blocking(h, driver_.blocking_handles());
  return why ? nullptr : adopt(owner, h, family, type, why);
}

template <class D, class T>
socket_state* basic_engine<D, T>::adopt(void* owner, native_handle_type h, int family, int type,
                                        failure& why) noexcept {
  lock_type lock(mutex_);
  if (inert_) {
    why = std::errc::operation_not_permitted;
    return nullptr;
  }
  socket_state* s = spare_.empty() ? driver_.make_state() : &spare_.pop_front();
  if (!s) {
    why = std::errc::not_enough_memory;
    return nullptr;
  }
  s->native = static_cast<std::intptr_t>(h);
  s->closing = s->unconnected = s->awaits_signals = s->streams = false;
  s->family = static_cast<std::int16_t>(family);
  s->type = static_cast<std::int16_t>(type);
  s->default_timeout = (clock::duration::max)();
  why = driver_.attach(*s);
  if (why) {
    s->native = -1;
    spare_.push_back(*s);
    return nullptr;
  }
  s->owner = owner;
  open_.push_back(*s);
  return s;
}

template <class D, class T>
native_handle_type basic_engine<D, T>::take_handle(socket_state& s, bool keep_open,
                                                   lock_type& lock) noexcept {
  if (!s.open()) return os::no_handle;
  s.closing = true; // reap() releases the lock
  if (!inert_) {
    cancel_all(s);
    while (s.busy()) {
      if (direct_.any(s))
        waited_.wait(lock);
      else
        reap(lock);
    }
    driver_.detach(s, keep_open);
  }
  return static_cast<native_handle_type>(std::exchange(s.native, -1));
}

template <class D, class T>
void basic_engine<D, T>::close(socket_state& s, lock_type& lock) noexcept {
  const auto h = take_handle(s, false, lock);
  if (h == os::no_handle) return;
  if (inert_)
    sockets::close_copy(h);
  else
    sockets::close(h);
}

template <class D, class T>
native_handle_type basic_engine<D, T>::release(socket_state& s) noexcept {
  lock_type lock(mutex_);
  const auto h = take_handle(s, true, lock);
  // All copies of a handle share the mode: a forked child must not change its parent's.
  if (h != os::no_handle && !inert_) (void)sockets::set_blocking(h, true);
  return h;
}

template <class D, class T>
void basic_engine<D, T>::give_back(socket_state& s) noexcept {
  lock_type lock(mutex_);
  close(s, lock);
  s.unlink();
  s.owner = nullptr;
  spare_.push_back(s);
}

template <class D, class T>
void basic_engine<D, T>::orphan(const void* owner) noexcept {
  lock_type lock(mutex_);
  for (bool found = true; found;) {
    found = false; // close() releases the lock, and other threads may open sockets meanwhile
    open_.for_each([&](socket_state& s) {
      if (s.owner != owner) return;
      found = true;
      close(s, lock);
      s.unlink();
      s.owner = nullptr;
    });
  }
}

}} // namespace rouse::ROUSE_ABI
