// A client and a server in one program, over loopback. Returns 0 if the bytes come back.
#include <rouse/rouse.hpp>

#include <array>
#include <string_view>

using socket_type = rouse::socket<rouse::coroutines>;

rouse::task<> serve(socket_type& listener) {
  socket_type connection = co_await listener.accept();
  std::array<char, 64> buffer;
  while (const std::size_t n = co_await connection.recv(buffer))
    co_await connection.send_all({buffer.data(), n});
}

rouse::task<bool> ask(socket_type& client, rouse::endpoint where) {
  std::array<char, 5> answer{};
  co_await client.connect(where);
  co_await client.send_all("hello");
  co_await client.recv_exactly(answer);
  client.shutdown(rouse::shutdown_send);
  co_return std::string_view(answer.data(), answer.size()) == "hello";
}

int main() {
  rouse::coroutines sched;
  rouse::socket listener{sched}, client{sched};
  listener.bind({"127.0.0.1", 0});
  listener.listen();
  bool came_back = false;
  sched.spawn(serve(listener));
  sched.spawn(
      [&]() -> rouse::task<> { came_back = co_await ask(client, listener.local_endpoint()); });
  sched.run();
  return came_back ? 0 : 1;
}
