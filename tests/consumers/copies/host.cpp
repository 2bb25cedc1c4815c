// Several copies of rouse in one process: host LIBRARY...
// Each copy gets every signal, in whatever order they are loaded and unloaded.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

#define CHECK(...)                                                                                 \
  do {                                                                                             \
    if (!(__VA_ARGS__)) {                                                                          \
      std::printf("line %d: %s\n", __LINE__, #__VA_ARGS__);                                        \
      std::exit(1);                                                                                \
    }                                                                                              \
  } while (false)

constexpr int patience = 30'000; // milliseconds

volatile std::sig_atomic_t heard = 0;
void hear(int) { heard = heard + 1; }
void hear_too(int) {}

auto disposition() {
  struct sigaction now = {};
  ::sigaction(SIGUSR1, nullptr, &now);
  return now.sa_handler;
}

class copy {
public:
  explicit copy(const std::string& path) : path_(path) {
    library_ = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library_) std::printf("%s\n", ::dlerror());
    CHECK(library_ != nullptr);
    open_ = reinterpret_cast<void* (*)(int)>(::dlsym(library_, "copy_open"));
    close_ = reinterpret_cast<void (*)(void*)>(::dlsym(library_, "copy_close"));
    next_ = reinterpret_cast<int (*)(void*, int)>(::dlsym(library_, "copy_next"));
    CHECK(open_ && close_ && next_);
  }
  copy(const copy&) = delete;
  copy& operator=(const copy&) = delete;
  ~copy() {
    close();
    CHECK(::dlclose(library_) == 0);
    if (std::getenv("COPIES_UNLOAD")) CHECK(!::dlopen(path_.c_str(), RTLD_NOW | RTLD_NOLOAD));
  }
  void open() { object_ = open_(SIGUSR1); }
  void close() {
    if (object_) close_(object_);
    object_ = nullptr;
  }
  bool hears() const { return next_(object_, patience) == SIGUSR1; }
  bool hears_nothing() const { return next_(object_, 0) == 0; }

private:
  std::string path_;
  void* library_;
  void* (*open_)(int);
  void (*close_)(void*);
  int (*next_)(void*, int);
  void* object_ = nullptr;
};

using copies = std::vector<copy*>;

// Each loaded copy gets a signal once.
void check_all_hear(const copies& all) {
  ::raise(SIGUSR1);
  for (const copy* c : all) {
    if (!c) continue;
    CHECK(c->hears());
    CHECK(c->hears_nothing());
  }
}

void every_order(const std::vector<std::string>& paths) {
  std::vector<std::size_t> opening(paths.size());
  for (std::size_t i = 0; i != paths.size(); ++i) opening[i] = i;
  do {
    auto closing = opening;
    std::sort(closing.begin(), closing.end());
    do {
      heard = 0;
      copies all(paths.size());
      for (const auto i : opening) {
        all[i] = new copy(paths[i]);
        all[i]->open();
        check_all_hear(all);
      }
      for (const auto i : closing) {
        delete all[i];
        all[i] = nullptr;
        if (i != closing.back()) check_all_hear(all);
      }
      CHECK(heard == 0);
      CHECK(disposition() == &hear); // the first handler
      ::raise(SIGUSR1);
      CHECK(heard == 1);
    } while (std::next_permutation(closing.begin(), closing.end()));
  } while (std::next_permutation(opening.begin(), opening.end()));
}

// A handler that the application installs on top stays, whichever copy is unloaded first.
void application_on_top(const std::vector<std::string>& paths) {
  for (const bool first : {true, false}) {
    copy one(paths[0]), other(paths[1]);
    one.open();
    other.open();
    struct sigaction theirs = {};
    ::sigaction(SIGUSR1, nullptr, &theirs);
    ::signal(SIGUSR1, &hear_too);
    (first ? one : other).close();
    CHECK(disposition() == &hear_too);
    if (first) { // if it is removed there, the other copy gets the signal
      ::sigaction(SIGUSR1, &theirs, nullptr);
      check_all_hear({&other});
    }
    one.close();
    other.close();
    CHECK(disposition() == (first ? &hear : &hear_too));
    ::signal(SIGUSR1, &hear);
  }
}

// A forked child has the disposition from before all copies, and may have objects too.
void forked(const std::vector<std::string>& paths) {
  for (const bool again : {false, true}) {
    heard = 0;
    copy one(paths[0]), other(paths[1]);
    one.open();
    other.open();
    const pid_t child = ::fork();
    if (child == 0) {
      if (again) {
        copy own(paths[2]);
        own.open();
        check_all_hear({&own});
        own.close();
      }
      ::raise(SIGUSR1);
      ::_exit(heard == 1 && disposition() == &hear ? 0 : 1);
    }
    int status = -1;
    CHECK(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    CHECK(one.hears_nothing() && other.hears_nothing());
    check_all_hear({&one, &other});
  }
}

// Objects of several copies are made and destroyed on several threads while signals arrive.
void threads(const std::vector<std::string>& paths) {
  copy lasting(paths[0]), one(paths[1]), other(paths[2]);
  lasting.open();
  std::atomic<bool> stop{false};
  std::thread raising([&] {
    while (!stop.load()) ::raise(SIGUSR1);
  });
  std::vector<std::thread> changing;
  for (copy* c : {&one, &other}) {
    changing.emplace_back([c] {
      for (int i = 0; i != 200; ++i) {
        c->open();
        ::raise(SIGUSR1);
        CHECK(c->hears());
        c->close();
      }
    });
  }
  for (std::thread& t : changing) t.join();
  stop.store(true);
  raising.join();
  CHECK(lasting.hears());
  lasting.close();
  CHECK(disposition() == &hear);
}

} // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> paths(argv + 1, argv + argc);
  CHECK(paths.size() == 3);
  ::signal(SIGUSR1, &hear);
  every_order(paths);
  application_on_top(paths);
  forked(paths);
  threads(paths);
  std::printf("ok\n");
}
