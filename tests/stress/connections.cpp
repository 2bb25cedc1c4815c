// Ten thousand connections at once. A child process has their other ends, because both ends
// together need more descriptors than a process usually may have.
#include <support/testing.hpp>

#if ROUSE_LINUX
#include <arpa/inet.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace testing;

namespace {

// Connects n times; then sends on each connection and expects an echo. Plain system calls.
int hold_connections(std::uint16_t port, std::size_t n) {
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(port);
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::vector<int> all(n);
  for (int& fd : all) {
    fd = ::socket(AF_INET, SOCK_STREAM, 0);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&where), sizeof where) != 0) return 1;
  }
  for (const int fd : all) {
    if (::send(fd, "echo", 4, 0) != 4) return 2;
  }
  for (const int fd : all) {
    char answer[4];
    if (::recv(fd, answer, 4, MSG_WAITALL) != 4 || std::memcmp(answer, "echo", 4) != 0) return 3;
  }
  return 0;
}

// The child process with the clients. It receives the port through a pipe.
class client_process {
public:
  explicit client_process(std::size_t n) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    child_ = ::fork();
    REQUIRE(child_ >= 0);
    if (child_ == 0) {
      std::uint16_t port = 0;
      ::close(ends[1]);
      const bool has_port = ::read(ends[0], &port, sizeof port) == sizeof port;
      ::_exit(has_port ? hold_connections(port, n) : 4);
    }
    ::close(ends[0]);
    pipe_ = ends[1];
  }
  ~client_process() {
    if (pipe_ >= 0) ::close(pipe_);
    if (child_ > 0) ::waitpid(child_, nullptr, 0);
  }
  client_process(const client_process&) = delete;
  client_process& operator=(const client_process&) = delete;

  void begin(std::uint16_t port) { REQUIRE(::write(pipe_, &port, sizeof port) == sizeof port); }
  int result() {
    int status = 0;
    REQUIRE(::waitpid(std::exchange(child_, -1), &status, 0) > 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

private:
  pid_t child_ = -1;
  int pipe_ = -1;
};

void allow_descriptors(std::size_t n) {
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = limit.rlim_max;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  REQUIRE(limit.rlim_max > n);
}

#if ROUSE_TSAN // ThreadSanitizer counts fibers as threads, and allows 8,000
constexpr std::size_t many = 2'000;
#else
constexpr std::size_t many = 10'000;
#endif

} // namespace

TEMPLATE_LIST_TEST_CASE("ten thousand connections are held, then each is echoed",
                        "[stress][connections][P05]", every_scheduler) {
  using socket = rouse::socket<TestType>;
  constexpr std::size_t n = is_threads<TestType> ? 250 : many;
  allow_descriptors(n + 100);
  client_process clients(n);
  std::vector<std::array<char, 4>> buffers(n);
  std::vector<socket> servers(n);
  TestType sched;
  socket listener = listening(sched, 4096);
  clients.begin(listener.local_endpoint().port());
  for (socket& s : servers) {
    auto accepted = await<socket>(sched, CALL(listener.accept(how...)));
    REQUIRE(!accepted.ec);
    s = std::move(accepted.value);
  }
  std::vector<started<TestType, std::size_t>> echoes;
  for (std::size_t i = 0; i != n; ++i) {
    echoes.push_back(
        start(sched, [&s = servers[i], &b = buffers[i]](auto&&... how) -> decltype(auto) {
          return s.recv_exactly(b, how...);
        }));
  }
  for (std::size_t i = 0; i != n; ++i) {
    REQUIRE(echoes[i].wait().value == 4);
    REQUIRE(send(sched, servers[i], std::string_view(buffers[i].data(), 4)).value == 4);
  }
  CHECK(clients.result() == 0);
}
#endif
