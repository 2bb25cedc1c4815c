// expect: rouse: the calls of this stream neither return their value, nor are they awaited
#include <rouse/rouse.hpp>

template <class T>
struct some_future {
  T value{};
};

struct own_stream {
  using scheduler_type = rouse::coroutines;
#ifdef BROKEN
  using given = some_future<std::size_t>;
#else
  using given = rouse::task<std::size_t>;
#endif

  template <class... Rest>
  given recv(rouse::mutable_buffer, Rest&&...) {
    return {};
  }
  template <class... Rest>
  given recv_exactly(rouse::mutable_buffer, Rest&&...) {
    return {};
  }
  template <class... Rest>
  some_future<rouse::loan> receive(Rest&&...) {
    return {};
  }
  template <class... Rest>
  given send(rouse::const_buffer, Rest&&...) {
    return {};
  }
  template <class... Rest>
  given send_all(rouse::const_buffer, Rest&&...) {
    return {};
  }
  void shutdown(rouse::shutdown_how, std::error_code&) {}
  void cancel() {}
  void close() {}
  bool is_open() const { return true; }
  void timeout(rouse::clock::duration) {}
  rouse::clock::duration timeout() const { return {}; }
  rouse::coroutines* scheduler() const { return nullptr; }
};

void read(own_stream& s) {
  rouse::reader in{s};
  (void)in.read_line();
}
