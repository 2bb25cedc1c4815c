// What the load generators report: a histogram of latencies, and the CPU time and memory of processes.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

// Log-linear histogram: 128 steps per power of two, under 0.8 % error.
struct Histogram {
  static constexpr unsigned kSub = 7;
  std::vector<uint64_t> bin = std::vector<uint64_t>((64 - kSub) << kSub, 0);
  uint64_t n = 0;
  static unsigned index(uint64_t v) {
    if (v < (1u << kSub)) return unsigned(v);
    unsigned e = 63u - unsigned(__builtin_clzll(v)) - kSub;
    return (e << kSub) + unsigned(v >> e);
  }
  static double value(unsigned i) {
    if (i < (2u << kSub)) return i;
    unsigned e = (i >> kSub) - 1;
    return std::ldexp(double((i & ((1u << kSub) - 1)) + (1u << kSub)) + 0.5, int(e));
  }
  void add(uint64_t v, uint64_t k = 1) { bin[index(v)] += k, n += k; }
  double at(double q) const {
    uint64_t need = uint64_t(std::ceil(q * double(n))), s = 0;
    for (unsigned i = 0; i < bin.size(); ++i)
      if ((s += bin[i]) >= need && s) return value(i);
    return 0;
  }
  void clear() { std::fill(bin.begin(), bin.end(), 0), n = 0; }
};

struct ServerSample {
  uint64_t cpu_ns = 0;
  long user_ticks = 0, sys_ticks = 0, vol = 0, invol = 0, rss_kb = 0, anon_kb = 0;
  uint64_t wait_ns = 0;  // runnable but not running: another process had the core
};
inline long field(const char* path, const char* key) {
  FILE* f = fopen(path, "r");
  if (!f) return 0;
  char line[256];
  long v = 0;
  size_t n = strlen(key);
  while (fgets(line, sizeof line, f))
    if (!strncmp(line, key, n)) { v = atol(line + n); break; }
  fclose(f);
  return v;
}
// Second figure of /proc/PID/schedstat: nanoseconds spent waiting for a core.
inline uint64_t run_delay(const std::string& pid) {
  unsigned long long run = 0, wait = 0;
  if (FILE* f = fopen(("/proc/" + pid + "/schedstat").c_str(), "r")) {
    if (fscanf(f, "%llu %llu", &run, &wait) != 2) wait = 0;
    fclose(f);
  }
  return wait;
}
inline uint64_t server_cpu(int pid) {
  clockid_t c;
  timespec t{};
  if (!pid || clock_getcpuclockid(pid, &c) != 0 || clock_gettime(c, &t) != 0) return 0;
  return uint64_t(t.tv_sec) * 1000000000u + uint64_t(t.tv_nsec);
}
inline ServerSample sample(int pid) {
  ServerSample s;
  if (!pid) return s;
  std::string p = "/proc/" + std::to_string(pid);
  if (FILE* f = fopen((p + "/stat").c_str(), "r")) {
    char line[1024];
    if (fgets(line, sizeof line, f))
      if (char* q = strrchr(line, ')')) sscanf(q + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &s.user_ticks, &s.sys_ticks);
    fclose(f);
  }
  s.vol = field((p + "/status").c_str(), "voluntary_ctxt_switches:");
  s.invol = field((p + "/status").c_str(), "nonvoluntary_ctxt_switches:");
  s.rss_kb = field((p + "/status").c_str(), "VmRSS:");
  s.anon_kb = field((p + "/status").c_str(), "RssAnon:");
  s.wait_ns = run_delay(std::to_string(pid));
  s.cpu_ns = server_cpu(pid);
  return s;
}
inline uint64_t own_cpu() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return uint64_t(t.tv_sec) * 1000000000u + uint64_t(t.tv_nsec);
}
