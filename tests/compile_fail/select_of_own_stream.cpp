// expect: rouse: select waits for a rouse::socket or a rouse::tls::socket
#include <rouse/rouse.hpp>

struct own_stream {
  using scheduler_type = rouse::fibers;
  rouse::socket<rouse::fibers> inner;

  template <class... Rest>
  std::size_t recv(rouse::mutable_buffer b, Rest&&... rest) {
    return inner.recv(b, rest...);
  }
  template <class... Rest>
  std::size_t recv_exactly(rouse::mutable_buffer b, Rest&&... rest) {
    return inner.recv_exactly(b, rest...);
  }
  template <class... Rest>
  rouse::loan receive(Rest&&... rest) {
    return inner.receive(rest...);
  }
  template <class... Rest>
  std::size_t send(rouse::const_buffer b, Rest&&... rest) {
    return inner.send(b, rest...);
  }
  template <class... Rest>
  std::size_t send_all(rouse::const_buffer b, Rest&&... rest) {
    return inner.send_all(b, rest...);
  }
  void shutdown(rouse::shutdown_how how, std::error_code& ec) { inner.shutdown(how, ec); }
  void cancel() { inner.cancel(); }
  void close() { inner.close(); }
  bool is_open() const { return inner.is_open(); }
  void timeout(rouse::clock::duration d) { inner.timeout(d); }
  rouse::clock::duration timeout() const { return inner.timeout(); }
  rouse::fibers* scheduler() const { return inner.scheduler(); }
};

void wait(own_stream& s) {
#ifdef BROKEN
  (void)rouse::ready(s, rouse::readable);
#else
  (void)rouse::ready(s.inner, rouse::readable);
#endif
}
