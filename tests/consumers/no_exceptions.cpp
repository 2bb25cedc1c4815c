// The round trip without exceptions and run-time type information: every error is a
// std::error_code.
#include <rouse/rouse.hpp>

#include <array>
#include <string_view>

int main() {
  std::error_code ec;
  bool came_back = false;
  rouse::fibers sched;
  rouse::socket listener{sched, AF_INET, SOCK_STREAM, 0, ec};
  if (!ec) listener.bind({"127.0.0.1", 0}, ec);
  if (!ec) listener.listen(16, ec);
  if (ec) return 1;
  sched.spawn([&] {
    std::error_code failed;
    auto connection = listener.accept(failed);
    std::array<char, 64> buffer;
    while (const std::size_t n = connection.recv(buffer, failed))
      connection.send_all({buffer.data(), n}, failed);
  });
  sched.spawn([&] {
    std::error_code failed;
    std::array<char, 5> answer{};
    rouse::socket client{sched};
    client.connect(listener.local_endpoint(), failed);
    client.send_all("hello", failed);
    client.recv_exactly(answer, failed);
    came_back = !failed && std::string_view(answer.data(), answer.size()) == "hello";
  });
  sched.run();
  return came_back ? 0 : 1;
}
