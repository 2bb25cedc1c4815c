// Shared by the two translation units of this program.
#pragma once

namespace odr {

struct sizes {
  unsigned long long coroutine, fiber, thread, callback, scheduler;
  const void* category; // of an inline variable or function there must be one
  friend bool operator==(const sizes&, const sizes&) = default;
};

template <class T>
constexpr unsigned long long size_of = sizeof(T);

sizes first();
sizes second();
// One unit opens the socket, the other uses it.
rouse::socket<rouse::fibers> open_listener(rouse::fibers&);
bool round_trip(rouse::fibers&, rouse::socket<rouse::fibers>& listener);
bool all_wakers();

} // namespace odr
