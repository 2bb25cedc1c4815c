#!/usr/bin/env python3
"""Runs echo servers against the load generator, in alternating rounds, and prints medians with their range.

  bench.py verify [--servers A,B]             every server echoes correctly
  bench.py load   --scenario NAME [...]       throughput, latency, server CPU per request
  bench.py idle | alloc | icount | syscalls   memory per idle connection, allocations, user instructions, system calls
  bench.py scaling                            one core against two, each with a scheduler of its own
  bench.py targets --out FILE                 the figures of FILE beside the goals
  bench.py micro                              fiber switches, hand-overs, posts, limits, datagrams, each beside a reference
  bench.py wine                               requests to wineserver per echo, callback, coroutine and fiber on IOCP
"""
import argparse, itertools, json, os, re, shutil, signal, statistics, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
B = os.path.join(HERE, "..", "..", "build", "bench")

def u(words):
    return ["srv_uring", "{port}", words, "{buf}", "{nbuf}"]

def rouse(engine, waker):
    return ["/usr/bin/env", "ROUSE_ENGINE=" + engine, B + "/srv_rouse", "{port}", waker, "{buf}"]

WAKERS = ["coroutine", "fiber", "thread", "callback"]
KINDS = WAKERS + ["lent-coroutine", "lent-fiber", "lent-callback", "cores-1", "cores-2"]
SERVERS = {
    **{f"rouse-{w}-{'uring' if e == 'io_uring' else e}": rouse(e, w) for e in ("io_uring", "epoll") for w in KINDS},
    # --- the physical limit ---
    "epoll-lt":        ["srv_epoll", "{port}", "lt", "{buf}"],
    "epoll-et":        ["srv_epoll", "{port}", "et", "{buf}"],
    "epoll-et2":       ["srv_epoll", "{port}", "et2", "{buf}"],
    "epoll-spin":      ["srv_epoll", "{port}", "spin", "{buf}"],
    "uring-plain":     u("plain,one"),
    "uring-coop":      u("coop,one"),
    "uring-defer":     u("defer,one"),
    "uring-rf":        u("defer,rf,one"),
    "uring-pf":        u("defer,rf,pf"),
    "uring-pf-direct": u("defer,rf,direct,pf"),
    "uring-link":      u("defer,rf,pf,link"),
    "uring-link-dir":  u("defer,rf,direct,pf,link"),
    "uring-ms":        u("defer,rf,ms"),
    "uring-ms-norf":   u("defer,ms"),
    "uring-ms-plain":  u("plain,ms"),
    "uring-ms-coop":   u("coop,rf,ms"),
    "uring-ms-direct": u("defer,rf,direct,ms"),
    "uring-ms-minw":   u("defer,rf,ms,minwait"),
    "uring-ms-dirmin": u("defer,rf,direct,ms,minwait"),
    "uring-msb":       u("defer,rf,direct,msb"),
    "uring-ms-sys":    u("defer,rf,ms,sys"),
    "uring-auto":      u("defer,rf,ms,auto"),
    "uring-one-sys":   u("defer,rf,pf,sys"),
    "uring-spec":      u("defer,rf,rspec,sys"),
    "uring-poll":      u("defer,rf,poll"),
    # --- Debian's libraries ---
    "asio-cb":         ["srv_asio_cb", "{port}", "{buf}"],
    "asio-cb-tuned":   ["srv_asio_cb_tuned", "{port}", "{buf}"],
    "asio-cb-uring":   ["srv_asio_cb_uring", "{port}", "{buf}"],
    "asio-co":         ["srv_asio_co", "{port}", "{buf}"],
    "asio-co-uring":   ["srv_asio_co_uring", "{port}", "{buf}"],
    "uv-try":          ["srv_uv", "{port}", "try", "{buf}"],
    "uv-write":        ["srv_uv", "{port}", "write", "{buf}"],
    "threads":         ["srv_thread", "{port}", "{buf}"],
    # --- other languages, in Debian's versions ---
    "go":              ["srv_go", "{port}", "{buf}"],
    "tokio":           ["srv_tokio", "{port}", "{buf}"],
    "sec:epoll-lt":    ["nouring", "EPERM", B + "/srv_epoll", "{port}", "lt", "{buf}"],
}
LIMITS = ["epoll-lt", "epoll-et", "epoll-et2", "uring-plain", "uring-rf", "uring-pf", "uring-link", "uring-ms",
          "uring-ms-direct", "uring-ms-sys", "uring-spec"]
DEBIAN = ["epoll-lt", "epoll-et", "uring-plain", "uring-rf", "uring-link", "uring-ms", "uring-ms-direct", "uring-ms-sys", "uring-auto",
          "uring-spec", "asio-cb", "asio-cb-tuned", "asio-cb-uring", "asio-co", "asio-co-uring", "uv-try", "uv-write", "threads"]
ROUSE = [f"rouse-{w}-{e}" for e in ("uring", "epoll") for w in WAKERS]
LENT = [n for n in SERVERS if n.startswith("rouse-lent-")]
PEERS = ["go", "tokio"]  # their compilers may be missing
GROUPS = {"rouse": ROUSE, "lent": LENT, "limits": LIMITS, "debian": DEBIAN, "peers": PEERS}

SCENARIOS = {  # load generator arguments, server buffer size, number of provided buffers
    "pp1-64":     (["--connections", "1", "--size", "64"], 4096, 64),
    "pp1-64s":    (["--connections", "1", "--size", "64", "--spin"], 4096, 64),
    "pp8-64":     (["--connections", "8", "--size", "64"], 4096, 64),
    "pp64-64":    (["--connections", "64", "--size", "64"], 4096, 256),
    "pp1024-64":  (["--connections", "1024", "--size", "64"], 4096, 2048),
    "pp8000-64":  (["--connections", "8000", "--size", "64"], 4096, 16384),
    "pp1-4k":     (["--connections", "1", "--size", "4096"], 4096, 64),
    "pp1-4ks":    (["--connections", "1", "--size", "4096", "--spin"], 4096, 64),
    "pp64-4k":    (["--connections", "64", "--size", "4096"], 4096, 256),
    "pp1024-4k":  (["--connections", "1024", "--size", "4096"], 4096, 2048),
    "pipe1x16":   (["--connections", "1", "--size", "64", "--pipeline", "16"], 4096, 64),
    "pipe16x16":  (["--connections", "16", "--size", "64", "--pipeline", "16"], 4096, 128),
    "stream1":    (["--mode", "stream", "--connections", "1", "--size", "65536", "--pipeline", "8"], 65536, 32),
    "stream8":    (["--mode", "stream", "--connections", "8", "--size", "65536", "--pipeline", "4"], 65536, 64),
    "conn16":     (["--mode", "connect-rate", "--connections", "16", "--size", "64", "--count", "15000"], 4096, 256),
    "conn1":      (["--mode", "connect-rate", "--connections", "1", "--size", "64", "--count", "15000"], 4096, 256),
}
COLUMNS = ["req_s", "server_cpu_us_per_req", "p50_us", "p99_us", "p999_us", "server_util", "client_util", "server_sleeps_per_req"]

NICE = os.environ.get("BENCH_NICE", "-15")  # needs root; set to 0 otherwise
_ports = itertools.count(20000 + (os.getpid() * 37) % 8000)

class Server:
    def __init__(self, name, buf, nbuf, env=None, cpu="0", mode="", patience=3):
        self.port = next(_ports)
        cmd = [x.format(port=self.port, buf=buf, nbuf=nbuf, mode=mode) for x in SERVERS[name]]
        cmd[0] = os.path.join(B, cmd[0])
        self.p = subprocess.Popen(["nice", "-n", NICE, "taskset", "-c", cpu] + cmd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  env={**os.environ, **(env or {})})
        want = ":%04X 00000000:0000 0A" % self.port
        for _ in range(patience * 100):  # /proc/net/tcp rather than a probing connect: no stray connection in the figures
            if want in open("/proc/net/tcp").read(): break
            if self.p.poll() is not None: raise RuntimeError(name + " exited " + str(self.p.returncode))
            time.sleep(0.01)
        else: raise RuntimeError(name + " does not listen")
    def __enter__(self): return self
    def __exit__(self, *_):
        self.p.send_signal(signal.SIGTERM)
        try: self.p.wait(0.5)
        except subprocess.TimeoutExpired:
            self.p.kill(); self.p.wait()

def loadgen(srv, extra, cpu="1", timeout=60):
    r = subprocess.run(["nice", "-n", NICE, "taskset", "-c", cpu, B + "/loadgen", "--port", str(srv.port), "--server-pid", str(srv.p.pid)] + extra,
                       capture_output=True, text=True, timeout=timeout)
    if not r.stdout.strip(): raise RuntimeError("loadgen: " + r.stderr.strip())
    return json.loads(r.stdout)

class Overflows:
    """Counts the completions that found a server's completion queue full. `value` is None where perf cannot count them."""
    def __init__(self, srv, wanted):
        self.value = None
        perf = shutil.which("perf") if wanted else None
        self.p = perf and subprocess.Popen([perf, "stat", "-x,", "-e", "io_uring:io_uring_cqe_overflow", "-p", str(srv.p.pid)],
                                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    def __enter__(self): return self
    def __exit__(self, *_):
        if not self.p: return
        self.p.send_signal(signal.SIGINT)
        for line in self.p.communicate()[1].splitlines():
            count, *rest = line.split(",")
            if "io_uring:io_uring_cqe_overflow" in rest and count.isdigit(): self.value = int(count)

def disturbed(r, name):
    """Share of the window in which the client or the server could run but had no core. Not asked of servers with many
    threads, because only the first one's wait is known."""
    return max(r["client_wait"], 0 if name in ("threads", "go") else r["server_wait"])

def names(s):
    out = []
    for n in s.split(","): out += GROUPS.get(n, [n])
    missing = [n for n in out if n in PEERS and not os.path.exists(os.path.join(B, SERVERS[n][0]))]
    for n in missing: print(f"\nMISSING: {n}, because {SERVERS[n][0]} was not built", flush=True)
    return [n for n in out if n not in missing]

def plot(name, title, unit, values):
    """values: {row: [figure, ...]}; medians as bars, with their range, into OUT/name.svg."""
    if not PLOTS or not values: return
    rows = "\n".join(f'"{n}" {statistics.median(v)} {min(v)} {max(v)}' for n, v in values.items())
    script = f"""set terminal svg size {120 + 44 * len(values)},420 font "sans-serif,11" background "white"
set output "{PLOTS}/{name}.svg"
set title "{title}" noenhanced
set ylabel "{unit}"
set xtics rotate by -45 noenhanced
set style fill solid 0.6
set yrange [*<0:*]
set grid ytics
unset key
$rows << EOD
{rows}
EOD
plot $rows using 0:2:3:4:(0.7):xtic(1) with boxerrorbars linecolor rgb "#4477aa"
"""
    subprocess.run(["gnuplot"], input=script, text=True, check=True)

PLOTS = os.environ.get("BENCH_PLOTS", "")  # a folder; needs gnuplot

def spread(v, fmt):
    return f"{fmt(statistics.median(v))} [{fmt(min(v))}–{fmt(max(v))}]"

def table(title, rows, base):
    """rows: {server: [result, ...]}; ratios are taken round by round against `base`, then their median."""
    print(f"\n### {title}\n")
    print(f"| server | req/s median [min–max] | × {base} | server CPU µs/req [min–max] | × {base} | p50 µs | p99 µs | p99.9 µs | server busy | client busy | sleeps/req |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    med = lambda n, k: statistics.median(r[k] for r in rows[n])
    def ratio(n, k):
        if base not in rows: return "-"
        pairs = [a[k] / b[k] for a, b in zip(rows[n], rows[base]) if b[k]]
        return f"{statistics.median(pairs):.2f}" if pairs else "-"
    for n in rows:
        if not rows[n]: continue
        print(f"| {n} | {spread([r['req_s'] for r in rows[n]], lambda x: f'{x:,.0f}')} | {ratio(n, 'req_s')} "
              f"| {spread([r['server_cpu_us_per_req'] for r in rows[n]], lambda x: f'{x:.2f}')} | {ratio(n, 'server_cpu_us_per_req')} "
              f"| {med(n,'p50_us'):.1f} | {med(n,'p99_us'):.1f} | {med(n,'p999_us'):.1f} | {med(n,'server_util'):.2f} | {med(n,'client_util'):.2f} "
              f"| {med(n,'server_sleeps_per_req'):.3f} |")
    counted = {n: [r.get("overflows") for r in v] for n, v in rows.items()}
    counted = {n: max(v) for n, v in counted.items() if v and None not in v}
    if counted: print("\ncompletions that found the queue full, at most in a round:", ", ".join(f"{n} {v:,}" for n, v in counted.items()))
    errs = {n: sum(r["errors"] for r in v) for n, v in rows.items() if sum(r["errors"] for r in v)}
    if errs: print("\nerrors:", errs)
    sys.stdout.flush()

def cmd_load(a):
    servers = names(a.servers)
    for sc in a.scenario.split(","):
        extra, buf, nbuf = SCENARIOS[sc]
        rows = {n: [] for n in servers}
        for rnd in range(a.rounds):
            order = list(rows)
            if rnd % 2: order.reverse()
            for n in order:
                try:
                    # A run that other processes disturbed is repeated, at most four times; the least disturbed one counts.
                    tries = []
                    while len(tries) < 4:
                        with Server(n, buf, a.nbuf or nbuf) as s:
                            with Overflows(s, sc == "pp8000-64" and "uring" in n) as o:
                                tries.append(loadgen(s, extra + ["--seconds", str(a.seconds), "--warmup", str(a.warmup)]))
                            tries[-1]["overflows"] = o.value
                        if disturbed(tries[-1], n) < 0.05: break
                    r = min(tries, key=lambda t: disturbed(t, n))
                    r["tries"] = len(tries)
                    rows[n].append(r)
                    if a.out:
                        with open(a.out, "a") as f: f.write(json.dumps({"scenario": sc, "server": n, "round": rnd, **r}) + "\n")
                except Exception as e:
                    print("!!", sc, n, e, file=sys.stderr)
        plot(f"load-{sc}", f"Server CPU per request, {sc}", "microseconds", {n: [r["server_cpu_us_per_req"] for r in v] for n, v in rows.items() if v})
        table(f"{sc}  ({' '.join(extra)}; {a.rounds} rounds of {a.seconds} s)", rows, a.base)

def cmd_verify(a):
    servers = names(a.servers)
    bad = 0
    for n in servers:
        for extra, buf in ((["--connections", "7", "--size", "64"], 4096), (["--connections", "3", "--size", "4096"], 4096),
                           (["--connections", "5", "--size", "100", "--pipeline", "20"], 4096),
                           (["--mode", "stream", "--connections", "2", "--size", "65536", "--pipeline", "8"], 65536),
                           (["--mode", "connect-rate", "--connections", "8", "--count", "500"], 4096)):
            try:
                with Server(n, buf, 64) as s: r = loadgen(s, extra + ["--seconds", "0.2", "--warmup", "0.05", "--verify"], timeout=15)
                ok = r["errors"] == 0 and r["requests"] > 20
            except Exception as e: ok, r = False, {"error": str(e)[:200]}
            if not ok: bad += 1; print("FAIL", n, extra, r)
    print("verify:", "nothing was built" if not servers else "all well" if not bad else f"{bad} failed")
    return bad or not servers

def cmd_idle(a):
    print(f"\n### Memory per idle connection ({a.connections} connections, each has echoed one 64-byte message)\n")
    print("| server | RSS before, KiB | RSS bytes per connection | kernel slab bytes per connection (both ends) | CPU while idle, ms/s |\n|---|---|---|---|---|")
    for n in names(a.servers):
        res = []
        for _ in range(a.rounds):
            try:
                with Server(n, 4096, 1024) as s:
                    res.append(loadgen(s, ["--mode", "idle", "--connections", str(a.connections), "--warmup", "0.3", "--seconds", "0.5"]))
                time.sleep(0.2)
            except Exception as e: print("!!", n, e, file=sys.stderr)
        if not res: continue
        m = lambda k: [r[k] for r in res]
        record(a, {"what": "idle", "server": n, "value": statistics.median(m("rss_per_conn"))})
        print(f"| {n} | {statistics.median(m('rss_base_kb')):.0f} | {spread(m('rss_per_conn'), lambda x: f'{x:.0f}')} | {spread(m('slab_per_conn'), lambda x: f'{x:.0f}')} | {statistics.median(m('idle_cpu_ms_per_s')):.2f} |")
        sys.stdout.flush()

def cmd_alloc(a):
    import struct
    print("\n### Heap allocations (malloc and friends, counted by interposition)\n")
    print("| server | at start | per connection (connect–echo–close) | per request, steady state (8 connections) | bytes per request |\n|---|---|---|---|---|")
    path = f"/dev/shm/alloc.{os.getpid()}"
    env = {"LD_PRELOAD": B + "/liballoc_count.so", "ALLOC_COUNT_FILE": path}
    def read():
        with open(path, "rb") as f: return struct.unpack("QQ", f.read(16))
    for n in names(a.servers):
        try:
            with Server(n, 4096, 256, env) as s:
                # taskset itself is a short-lived process that counts into the same file: the server truncates it again at start
                c0 = read()
                # memory that the first connections leave to later ones is not counted per connection
                loadgen(s, ["--mode", "connect-rate", "--connections", "8", "--count", "500", "--seconds", "5"]); time.sleep(.05); cw = read()
                r1 = loadgen(s, ["--mode", "connect-rate", "--connections", "8", "--count", "2000", "--seconds", "5"])
                time.sleep(.05); c1 = read()
                ra = loadgen(s, ["--connections", "8", "--seconds", "0.3", "--warmup", "0", "--count", "2000"]); time.sleep(.05); ca = read()
                rb = loadgen(s, ["--connections", "8", "--seconds", "3", "--warmup", "0", "--count", "22000"]); time.sleep(.05); cb = read()
            # the same connections are opened in both runs, so their difference is the steady state
            dr = rb["requests"] - ra["requests"]
            per = ((cb[0] - ca[0]) - (ca[0] - c1[0])) / dr
            byt = ((cb[1] - ca[1]) - (ca[1] - c1[1])) / dr
            record(a, {"what": "alloc", "server": n, "request": max(per, 0), "connection": (c1[0] - cw[0]) / max(1, r1["requests"])})
            print(f"| {n} | {c0[0]} | {(c1[0]-cw[0])/max(1,r1['requests']):.3f} | {max(per,0):.3f} | {max(byt,0):.1f} |")
        except Exception as e: print("!!", n, e, file=sys.stderr)
        sys.stdout.flush()
    os.path.exists(path) and os.unlink(path)

NR = {"0": "read", "1": "write", "7": "poll", "16": "ioctl", "20": "writev", "44": "sendto", "45": "recvfrom", "46": "sendmsg", "47": "recvmsg", "232": "epoll_wait",
      "281": "epoll_pwait", "233": "epoll_ctl", "426": "io_uring_enter", "19": "readv", "288": "accept4", "3": "close", "228": "clock_gettime", "35": "nanosleep", "13": "rt_sigaction", "14": "rt_sigprocmask", "202": "futex", "24": "sched_yield", "441": "epoll_pwait2"}
def cmd_icount(a):
    print("\n### User-space instructions and system calls per request (single-stepped; two run lengths subtracted)\n")
    print("| server | connections | user instructions/request | system calls/request | which |\n|---|---|---|---|---|")
    def run(n, conns, count):
        with Server(n, 4096, 256) as s:
            ic = subprocess.Popen([B + "/icount", str(s.p.pid)], stdout=subprocess.PIPE, text=True)
            ic.stdout.readline()
            r = json.loads(subprocess.run(["taskset", "-c", "1", B + "/loadgen", "--port", str(s.port), "--connections", str(conns), "--seconds", "45",
                                           "--warmup", "0", "--count", str(count)], capture_output=True, text=True, timeout=60).stdout)
            time.sleep(0.3)
            ic.terminate()
            return r["requests"], json.loads(ic.communicate()[0])
    for n in names(a.servers):
        for conns, k1, k2 in ((1, 10, 50), (16, 160, 480)):  # enough for all connections to exist even in the shorter run
            try:
                (r1, i1), (r2, i2) = run(n, conns, k1), run(n, conns, k2)
                d = r2 - r1
                record(a, {"what": "icount", "server": n, "connections": conns, "value": (i2["instructions"] - i1["instructions"]) / d, "calls": (i2["syscalls"] - i1["syscalls"]) / d})
                by = {k: (v - i1["by_nr"].get(k, 0)) / d for k, v in i2["by_nr"].items()}
                print(f"| {n} | {conns} | {(i2['instructions'] - i1['instructions']) / d:.0f} | {(i2['syscalls'] - i1['syscalls']) / d:.2f} | "
                      + ", ".join(f"{NR.get(k,k)} {v:.2f}" for k, v in sorted(by.items(), key=lambda x: -x[1])[:5] if v > 0.01) + " |")
            except Exception as e: print("!!", n, conns, e, file=sys.stderr)
            sys.stdout.flush()

def cmd_syscalls(a):
    """perf counts the raw_syscalls tracepoint: far lighter than strace, so it does not change the batching."""
    print("\n### System calls per request under load (perf stat -e raw_syscalls:sys_enter)\n")
    print("| server | " + " | ".join(a.scenario.split(",")) + " |\n|---|" + "---|" * len(a.scenario.split(",")))
    for n in names(a.servers):
        cells = []
        for sc in a.scenario.split(","):
            extra, buf, nbuf = SCENARIOS[sc]
            try:
                with Server(n, buf, nbuf) as s:
                    lg = subprocess.Popen(["taskset", "-c", "1", B + "/loadgen", "--port", str(s.port), "--seconds", "1.6", "--warmup", "0.3",
                                           "--server-pid", str(s.p.pid)] + extra, stdout=subprocess.PIPE, text=True)
                    time.sleep(0.7)
                    p = subprocess.run(["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", str(s.p.pid), "sleep", "0.6"], capture_output=True, text=True)
                    out = json.loads(lg.communicate()[0])
                    calls = next(float(l.split(",")[0]) for l in p.stderr.splitlines() if "raw_syscalls" in l)
                    cells.append(f"{calls/(out['req_s']*0.6):.2f}")
            except Exception as e:
                cells.append("?"); print("!!", n, sc, e, file=sys.stderr)
        print(f"| {n} | " + " | ".join(cells) + " |"); sys.stdout.flush()

def cmd_micro(a):
    """Rivals take turns inside the program; the engine is picked from outside."""
    print("\n### rouse's own mechanisms, beside what they are measured against (medians of 9 rounds, rivals in turn)\n")
    print("| what | io_uring: median [min–max] | epoll: median [min–max] | unit |\n|---|---|---|---|")
    rows = {}
    for engine in ("io_uring", "epoll"):
        out = subprocess.run(["nice", "-n", NICE, B + "/m_rouse"], capture_output=True, text=True, timeout=300, env={**os.environ, "ROUSE_ENGINE": engine}).stdout
        for l in out.splitlines():
            name, med, lo, hi, unit = l.split("|")
            rows.setdefault((name, unit), {})[engine] = (float(med), float(lo), float(hi))
            record(a, {"what": "micro", "engine": engine, "name": name, "value": float(med), "unit": unit})
    cell = lambda v: f"{v[0]:,.1f} [{v[1]:,.1f}–{v[2]:,.1f}]" if v else "-"
    for (name, unit), v in rows.items(): print(f"| {name} | {cell(v.get('io_uring'))} | {cell(v.get('epoll'))} | {unit} |")

def record(a, what):
    if a.out:
        with open(a.out, "a") as f: f.write(json.dumps(what) + "\n")

WINESERVER = "/usr/lib/wine/wineserver64"
def cmd_wine(a):
    """wineserver logs each request: a figure without noise. Two runs of different length are subtracted."""
    print("\n### Requests to wineserver per echo of 64 B (IOCP under Wine; two run lengths subtracted)\n")
    if not (os.path.exists(WINESERVER) and os.path.exists(B + "/srv_rouse.exe")):
        print("not measured: this needs Debian's wine64 and g++-mingw-w64-x86-64-posix"); return
    env = {**os.environ, "WINEPREFIX": os.path.abspath(B + "/wine"), "WINEDEBUG": "-all", "WINEARCH": "win64", "WINEDLLOVERRIDES": "mscoree,mshtml,winedbg.exe="}
    for k in ("DISPLAY", "WAYLAND_DISPLAY"): env.pop(k, None)
    quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    subprocess.run(["wine", "wineboot", "-i"], **quiet)
    subprocess.run([WINESERVER, "-w"], **quiet)
    log_path = B + "/wineserver.log"
    with open(log_path, "w") as log: ws = subprocess.Popen([WINESERVER, "-f", "-d", "-p"], **{**quiet, "stderr": log})
    is_request = re.compile(r"^[0-9a-f]{4}: \w+\( ", re.M)
    def requests():
        last = -1
        while True:  # until the log stops growing
            time.sleep(0.3)
            text = open(log_path, errors="replace").read()
            if len(text) == last: return len(is_request.findall(text))
            last = len(text)
    print("| waker | 1 connection | 16 connections |\n|---|---|---|")
    try:
        for waker in ("callback", "coroutine", "fiber"):
            port = next(_ports)
            srv = subprocess.Popen(["wine", B + "/srv_rouse.exe", str(port), waker, "4096"], **quiet)
            for _ in range(300):
                if ":%04X 00000000:0000 0A" % port in open("/proc/net/tcp").read(): break
                time.sleep(0.05)
            cells = []
            for conns in (1, 16):
                counted = []
                for count in (200, 1800):
                    before = requests()
                    r = json.loads(subprocess.run([B + "/loadgen", "--port", str(port), "--connections", str(conns), "--seconds", "30", "--warmup", "0", "--count", str(count)],
                                                  capture_output=True, text=True, timeout=60).stdout)
                    counted.append((r["requests"], requests() - before))
                (r1, q1), (r2, q2) = counted
                cells.append((q2 - q1) / (r2 - r1))
                record(a, {"what": "wine", "waker": waker, "connections": conns, "value": cells[-1]})
            print(f"| {waker} | {cells[0]:.2f} | {cells[1]:.2f} |"); sys.stdout.flush()
            srv.terminate(); srv.wait()
    finally:
        subprocess.run([WINESERVER, "-k"], **quiet)
        ws.wait()

# program, engine of rouse, rows
LOCKSTEP = [("ls_rouse", "io_uring", []), ("ls_rouse", "epoll", []),
            ("ls_raw", "", ["epoll-lt", "epoll-et", "uring-rf", "uring-pf", "uring-ms", "uring-ms-direct", "uring-ms-sys", "uring-poll"])]
RIVALS = [(p, "", []) for p in ("ls_asio_cb", "ls_asio_tuned", "ls_asio_co", "ls_asio_uring", "ls_asio_co_uring", "ls_uv")]
def cmd_lockstep(a):
    """Overhead over a bare recv + send, one thread, exact batch size."""
    res, floor = {}, {}
    cols = [tuple(map(int, x.split("x"))) for x in a.batches.split(",")]
    progs = LOCKSTEP + ([] if a.servers == "rouse" else RIVALS)
    for rnd in range(a.rounds):
        for b, size in cols:
            for pr in (progs if rnd % 2 == 0 else progs[::-1]):
                cmd = ["nice", "-n", NICE, "taskset", "-c", "0", os.path.join(B, pr[0]), str(b), str(size)] + pr[2]
                env = {**os.environ, **({"ROUSE_ENGINE": pr[1]} if pr[1] else {})}
                try: out = subprocess.run(cmd, capture_output=True, text=True, timeout=60, env=env).stdout
                except subprocess.TimeoutExpired: print("!! timeout", cmd, file=sys.stderr); continue
                for l in out.splitlines():
                    f = l.split()
                    if len(f) < 8 or not f[1].isdigit(): continue
                    res.setdefault(f[0], {}).setdefault((b, size), []).append(float(f[5]))
                    floor.setdefault((b, size), []).append(float(f[3]))
                    if a.out:
                        with open(a.out, "a") as o: o.write(json.dumps({"round": rnd, "engine": f[0], "batch": b, "size": size, "floor": float(f[3]), "server": float(f[4]), "over": float(f[5])}) + "\n")
    for b, size in cols:
        plot(f"lockstep-{b}x{size}", f"Overhead per request over a bare recv() and send(), {b} ready, {size} B", "nanoseconds",
             {n: v[(b, size)] for n, v in res.items() if (b, size) in v})
    print("\n### Engine overhead in ns per request over a bare recv() + send() on ready sockets (lock-step, one core)\n")
    print("| engine | " + " | ".join(f"batch {b}, {s} B" for b, s in cols) + " |\n|---|" + "---|" * len(cols))
    print("| (the bare recv + send itself) | " + " | ".join(spread(floor[c], lambda x: f"{x:.0f}") for c in cols) + " |")
    for n, v in res.items():
        print(f"| {n} | " + " | ".join(spread(v[c], lambda x: f"{x:+.0f}") if c in v else "-" for c in cols) + " |")

def cmd_scaling(a):
    """The generator uses both cores as well: the figure is the server's own time per request, which does not grow if nothing is shared."""
    print("\n### From one core to two (per_core, coroutines, 64 connections, 64 B; the generator runs on both cores too; a thread for each connection)\n")
    print("| server | req/s median [min–max] | server CPU µs/req median [min–max] |\n|---|---|---|")
    rows = {n: [] for n in ("rouse-cores-1-uring", "rouse-cores-2-uring", "rouse-cores-1-epoll", "rouse-cores-2-epoll", "rouse-thread-epoll", "threads")}
    for rnd in range(a.rounds):
        for n in rows if rnd % 2 == 0 else list(rows)[::-1]:
            with Server(n, 4096, 256, cpu="0,1") as s:
                rows[n].append(loadgen(s, ["--connections", "64", "--size", "64", "--seconds", str(a.seconds), "--warmup", str(a.warmup)], cpu="0,1"))
                record(a, {"what": "scaling", "server": n, **rows[n][-1]})
    for n, v in rows.items():
        print(f"| {n} | {spread([r['req_s'] for r in v], lambda x: f'{x:,.0f}')} | {spread([r['server_cpu_us_per_req'] for r in v], lambda x: f'{x:.2f}')} |")

def cmd_targets(a):
    data = [json.loads(l) for l in open(a.out)]
    print("\n### What was aimed at\n\n| measure | target | measured | met |\n|---|---|---|---|")
    med = lambda v: statistics.median(v) if v else None
    def row(what, target, cells, ok):
        """cells: {label: figure}"""
        cells = {k: v for k, v in cells.items() if v is not None}
        missed = [k for k, v in cells.items() if not ok(v)]
        num = lambda v: f"{v:,.0f}" if abs(v) >= 100 else f"{v:.3g}"
        print(f"| {what} | {target} | " + (", ".join(f"{k} {num(v)}" for k, v in cells.items()) or "-") + " | "
              + ("not measured" if not cells else "yes" if not missed else "no" if len(missed) == len(cells) else "no: " + ", ".join(missed)) + " |")
    over = lambda engine, b, key="over": med([d[key] for d in data if d.get("engine") == engine and d.get("batch") == b and d.get("size") == 64 and "over" in d])
    def best(engines, b):
        v = [over(e, b) for e in engines]
        return min((x for x in v if x is not None), default=None)
    raw = {d["engine"] for d in data if "over" in d and d["engine"].startswith(("epoll-", "uring-"))}
    less = lambda x, y: None if x is None or y is None else x - y
    batches = (1, 4, 16, 64)
    for wakers, names_, limit in (("callbacks and coroutines on io_uring", ("cb", "co"), 60), ("fibers on io_uring", ("fiber",), 90)):
        row(f"lock-step, {wakers}, over the best hand-written of each batch, ns", f"≤ +{limit} at 1, 4, 16, 64",
            {f"{w} at {b}": less(over(f"rouse-{w}-uring", b), best(raw, b)) for w in names_ for b in batches}, lambda v: v <= limit)
    row("lock-step, fibers over callbacks on io_uring, ns", "≤ +60 at 4, 16, 64", {f"at {b}": less(over("rouse-fiber-uring", b), over("rouse-cb-uring", b)) for b in batches[1:]}, lambda v: v <= 60)
    row("lock-step, epoll, callbacks and coroutines, over hand-written epoll, ns", "≤ +60 at 1, 4, 16, 64",
        {f"{w} at {b}": less(over(f"rouse-{w}-epoll", b), best([e for e in raw if e.startswith("epoll")], b)) for w in ("cb", "co") for b in batches}, lambda v: v <= 60)
    row("lock-step, callbacks and coroutines on io_uring with 1,024 ready, over hand-written multishot, ns", "≤ +250",
        {w: less(over(f"rouse-{w}-uring", 1024), over("uring-ms", 1024)) for w in ("cb", "co")}, lambda v: v <= 250)
    for e in ("uring", "epoll"):  # of the whole time of a request, the system calls included
        whole = lambda kind, b: over(f"rouse-{kind}-{e}", b, "server")
        row(f"lock-step, receive() over recv(), time of a request, callbacks on {'io_uring' if e == 'uring' else e}", "≤ 1.1",
            {f"{b:,} ready": whole("lent", b) / whole("cb", b) for b in (*batches, 256, 1024) if whole("lent", b)}, lambda v: v <= 1.1)
    for name, rivals in (("Asio callbacks", ("asio-cb", "asio-cb-tuned", "asio-cb-uring")), ("Asio coroutines", ("asio-co", "asio-co-uring")), ("libuv", ("uv-try",))):
        mine = "co" if "coroutines" in name else "cb"
        row(f"lock-step, {name} less rouse-{mine}, best engines, ns", "> 0 at 1, 4, 16, 64",
            {f"at {b}": less(best(rivals, b), best((f"rouse-{mine}-uring", f"rouse-{mine}-epoll"), b)) for b in batches}, lambda v: v > 0)
    def loads(sc, server): return {d["round"]: d for d in data if d.get("scenario") == sc and d.get("server") == server}
    def ratio(sc, x, y, key="server_cpu_us_per_req"):
        p, q = loads(sc, x), loads(sc, y)
        return med([p[r][key] / q[r][key] for r in p if r in q])
    for sc, text, wanted in (("pp64-64", "64 B", (1.25, 1.3, 1.25)), ("pp64-4k", "4 KiB", (1.1, 1.25, 1.3))):
        for (rival, mine), least in zip((("asio-cb", "callback"), ("asio-co", "coroutine"), ("uv-try", "callback")), wanted):
            row(f"server CPU of {rival} over rouse's {mine}, 64 connections, {text}", f"≥ {least}", {e: ratio(sc, rival, f"rouse-{mine}-{e}") for e in ("uring", "epoll")}, lambda v: v >= least)
    hand = ("epoll-lt", "uring-ms", "uring-rf")
    def over_best(sc, server, key="server_cpu_us_per_req"): return max((x for x in (ratio(sc, server, h, key) for h in hand) if x is not None), default=None)
    for sc, text in (("pp64-64", "64"), ("pp1024-64", "1,024"), ("pp8000-64", "8,000")):
        row(f"server CPU on io_uring over the best hand-written, {text} connections", "≤ 1.1", {w: over_best(sc, f"rouse-{w}-uring") for w in ("callback", "coroutine")}, lambda v: v <= 1.1)
        row(f"99th percentile of the latency on io_uring over the best hand-written, {text} connections", "≤ 1.1", {w: over_best(sc, f"rouse-{w}-uring", "p99_us") for w in ("callback", "coroutine")}, lambda v: v <= 1.1)
    row("streams of 64 KiB: server CPU over hand-written epoll", "≤ 0.9", {f"{w}, {e}": ratio("stream8", f"rouse-{w}-{e}", "epoll-lt") for e in ("uring", "epoll") for w in ("callback", "coroutine")}, lambda v: v <= 0.9)
    row("streams of 64 KiB: server CPU of receive() over recv()", "≤ 1.1", {e: ratio("stream8", f"rouse-lent-callback-{e}", f"rouse-callback-{e}") for e in ("uring", "epoll")}, lambda v: v <= 1.1)
    row("connect-echo-close: server CPU over hand-written epoll", "≤ 0.95", {w: ratio("conn16", f"rouse-{w}-uring", "epoll-lt") for w in ("callback", "coroutine")}, lambda v: v <= 0.95)
    row("connect-echo-close: server CPU over hand-written multishot accept", "≤ 1.1", {w: ratio("conn16", f"rouse-{w}-uring", "uring-ms") for w in ("callback", "coroutine", "fiber")}, lambda v: v <= 1.1)
    row("threads over plain blocking, requests/s", "≥ 0.95", {sc: ratio(sc, "rouse-thread-epoll", "threads", "req_s") for sc in ("pp1-64s", "pp64-64", "pp1024-64", "conn16")}, lambda v: v >= 0.95)
    one = lambda **k: next((d for d in data if all(d.get(x) == y for x, y in k.items())), {})
    for conns, most in ((1, 6.7), (16, 8.5)):
        row(f"requests to wineserver per echo, {conns} connection" + "s" * (conns > 1), f"≤ {most}", {w: one(what="wine", waker=w, connections=conns).get("value") for w in ("callback", "coroutine", "fiber")}, lambda v: v <= most)
    row("heap allocations per request", "0", {n[6:]: one(what="alloc", server=n).get("request") for n in ROUSE}, lambda v: v < 0.001)
    row("heap allocations per connection", "≤ 1", {n[6:]: one(what="alloc", server=n).get("connection") for n in LENT}, lambda v: v <= 1.005)
    for e, most in (("epoll", 300), ("uring", 400)):
        row(f"user instructions per request, {e}", f"≤ {most}", {f"{w}, {c} conn.": one(what="icount", server=f"rouse-{w}-{e}", connections=c).get("value") for w in ("callback", "coroutine", "fiber") for c in (1, 16)}, lambda v: v <= most)
    for w, most in (("callback", 300), ("coroutine", 760), ("fiber", 8704)):
        row(f"memory per idle connection, {w}s with receive(), bytes", f"≤ {most:,}", {e: one(what="idle", server=f"rouse-lent-{w}-{e}").get("value") for e in ("uring", "epoll")}, lambda v: v <= most)
    micro = lambda name, e="io_uring": one(what="micro", engine=e, name=name).get("value")
    over_ = lambda x, y: None if not x or not y else x / y
    row("fiber switch over Boost.Context's", "≤ 1.0", {f"{n} fibers": over_(micro(f"fiber switch, rouse, {n}"), micro(f"fiber switch, Boost.Context, {n}")) for n in (1, 4, 16, 64, 256, 1024, 4096)}, lambda v: v <= 1.0)
    row("memory of a fiber that waits, bytes (a million: 4 GiB)", "≤ 4,294", {e: micro("memory of a fiber that waits", e) for e in ("io_uring", "epoll")}, lambda v: v <= 4294)
    row("rendezvous of two fibers beyond two switches, ns", "≤ 30", {e: micro("rendezvous of two fibers", e) - 2 * micro("fiber switch, rouse, 1", e) for e in ("io_uring", "epoll") if micro("rendezvous of two fibers", e) is not None}, lambda v: v <= 30)
    row("waking a loop that sleeps over an eventfd", "≤ 1.0", {f"{c} core, {e}": over_(micro(f"post to a loop that sleeps, {c} core", e), micro(f"eventfd to an epoll_wait that sleeps, {c} core", e)) for c in ("other", "same") for e in ("io_uring", "epoll")}, lambda v: v <= 1.0)
    row("arming and disarming a limit, ns", "≤ 40", {f"{n} pending": micro(f"limit armed and disarmed, {n}") for n in ("1 other", "1,000,000 others")}, lambda v: v <= 40)
    c = {d["unit"]: d for d in data if d.get("what") == "compile"}
    for key, text, most in (("o2_s", "compile time at -O2 over Asio's", 0.7), ("o0_s", "compile time at -O0 over Asio's", 0.7), ("kib", "stripped program over Asio's", 0.7)):
        row(f"smallest echo: {text}", f"≤ {most}", {w: over_(c.get(f"echo_rouse_{w}", {}).get(key), c.get(f"echo_asio_{r}", {}).get(key)) for w, r in (("callback", "cb"), ("coroutine", "co"))}, lambda v: v <= most)
    row("a unit that only includes it: compile time over Asio's", "≤ 0.4", {o: over_(c.get("inc_rouse", {}).get(k), c.get("inc_asio", {}).get(k)) for o, k in (("-O0", "o0_s"), ("-O2", "o2_s"))}, lambda v: v <= 0.4)
    row("smallest echo: lines preprocessed", "≤ 60,000", {w: c.get(f"echo_rouse_{w}", {}).get("lines") for w in ("callback", "coroutine")}, lambda v: v <= 60000)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=["load", "verify", "idle", "alloc", "icount", "syscalls", "lockstep", "micro", "wine", "scaling", "targets"])
    p.add_argument("--scenario", default="pp1-64,pp64-64")
    p.add_argument("--servers", default="debian")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=0.8)
    p.add_argument("--warmup", type=float, default=0.2)
    p.add_argument("--connections", type=int, default=5000)
    p.add_argument("--nbuf", type=int, default=0)
    p.add_argument("--base", default="epoll-lt")
    p.add_argument("--out", default="")
    p.add_argument("--batches", default="1x64,2x64,4x64,16x64,64x64,256x64,1x4096,4x4096,16x4096,64x4096")
    a = p.parse_args()
    return globals()["cmd_" + a.what](a) or 0

if __name__ == "__main__":
    sys.exit(main())
