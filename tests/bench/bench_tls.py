#!/usr/bin/env python3
"""The part on TLS: rouse::tls beside Asio's ssl::stream, a hand-written OpenSSL loop on epoll, openssl s_server and nginx, all over the same OpenSSL.

  bench_tls.py verify                     every server echoes correctly, resumes sessions, and downloads
  bench_tls.py load                       handshakes, bulk and small messages: rate and server CPU, in alternating rounds
  bench_tls.py idle                       memory per idle connection
  bench_tls.py icount                     instructions per echo and per handshake under callgrind, the server's alone
  bench_tls.py targets --out FILE         the figures of FILE beside the goals

One client program for all (src/tls_load.cpp) on the other core: TLS 1.3, TLS_AES_128_GCM_SHA256, X25519, an ECDSA certificate on P-256.
The server of rouse (src/srv_tls_rouse.cpp) runs with three wakers on two engines; "lent" has no buffer of its own for a connection, as the
hand-written loop, which has one for all. Ratios are taken round by round, in rounds that alternate in their order, and then their median.
"""
import argparse, json, os, shutil, statistics, subprocess, sys, time
import bench
from bench import B, HERE, NICE, Server, disturbed, record, spread

CERT = os.path.join(B, "tls")
CHAIN, KEY = CERT + "/chain.pem", CERT + "/key.pem"

def mine(engine, waker):
    return ["/usr/bin/env", "ROUSE_ENGINE=" + engine, B + "/srv_tls_rouse", "{port}", CHAIN, KEY, "{mode}", waker, "{buf}"]

HAND = {"tls-hand": "release", "tls-hand-keep": "keep"}
ASIO = ["tls-asio", "tls-asio-tuned"]
WAKERS, ENGINES = ("callback", "coroutine", "fiber", "lent-callback", "lent-coroutine"), {"uring": "io_uring", "epoll": "epoll"}
ROUSE = [f"tls-rouse-{w}-{e}" for e in ENGINES for w in WAKERS]
SERVERS = {
    **{n: ["srv_tls_epoll", "{port}", CHAIN, KEY, "{mode}", how, "{buf}"] for n, how in HAND.items()},
    **{n: ["srv_" + n.replace("-", "_"), "{port}", CHAIN, KEY, "{mode}", "{buf}"] for n in ASIO},
    **{f"tls-rouse-{w}-{e}": mine(ENGINES[e], w) for e in ENGINES for w in WAKERS},
    "openssl-s_server": ["/usr/bin/openssl", "s_server", "-accept", "127.0.0.1:{port}", "-cert", CHAIN, "-key", KEY, "-rev", "-quiet"],
    "nginx":            ["/bin/sh", HERE + "/src/nginx.sh", "{port}", os.path.abspath(CHAIN), os.path.abspath(KEY), os.path.abspath(CERT)],
}
bench.SERVERS.update(SERVERS)
OTHERS = ["openssl-s_server", "nginx"]

SCENARIOS = {  # title, load generator arguments, server mode, buffer size, unit, also for OTHERS
    "full":     ("full handshakes (connect, handshake, 1 byte echoed, close; 8 at a time)", ["--mode", "handshake", "--connections", "8"], "echo", 4096, "handshake", True),
    "resumed":  ("resumed handshakes (likewise, with the newest ticket)", ["--mode", "handshake", "--connections", "8", "--resume"], "echo", 4096, "handshake", True),
    "echo1-64": ("echo of 64 B, 1 connection, lock-step", ["--connections", "1", "--size", "64", "--spin"], "echo", 4096, "message", False),
    "echo64-64": ("echo of 64 B, 64 connections, lock-step", ["--connections", "64", "--size", "64"], "echo", 4096, "message", False),
    "bulk1":    ("echo of 16 KiB, 1 connection, lock-step", ["--connections", "1", "--size", "16384", "--spin"], "echo", 16384, "16 KiB", False),
    "bulk8":    ("echo of 16 KiB, 8 connections, lock-step", ["--connections", "8", "--size", "16384"], "echo", 16384, "16 KiB", False),
    "down1":    ("download in messages of 16 KiB, 1 connection", ["--mode", "download", "--connections", "1", "--size", "16384"], "download", 16384, "16 KiB", False),
    "down8":    ("download in messages of 16 KiB, 8 connections", ["--mode", "download", "--connections", "8", "--size", "16384"], "download", 16384, "16 KiB", False),
}
BULK = ("bulk1", "bulk8", "down1", "down8")
HTTP = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

def certificate():
    if os.path.exists(KEY): return
    os.makedirs(CERT, exist_ok=True)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", KEY, "-out", CHAIN], check=True, capture_output=True)

def present(servers):
    """Those that can run here; says loudly which cannot."""
    out, missing = [], {}
    for n in servers:
        cmd = SERVERS[n]
        program = next((c for c in cmd if "srv_tls" in c), cmd[0])
        path = shutil.which("nginx") if n == "nginx" else os.path.join(B, program)
        if path and os.path.exists(path): out.append(n)
        else: missing.setdefault("nginx is not installed" if n == "nginx" else os.path.basename(program) + " was not built", []).append(n)
    for why, those in missing.items(): print(f"\n**MISSING: {why}; not measured: {', '.join(those)}.**")
    return out

def names(a): return present(list(SERVERS) if a.servers == "all" else [x for n in a.servers.split(",") for x in {"rouse": ROUSE, "asio": ASIO, "hand": list(HAND)}.get(n, [n])])

def start(n, mode, buf): return Server(n, buf, 0, mode=mode)

def generate(srv, name, extra, timeout=60, cpu="1"):
    if name == "nginx": extra = extra + ["--request", HTTP]
    r = subprocess.run(["nice", "-n", NICE, "taskset", "-c", cpu, B + "/tls_load", "--port", str(srv.port), "--server-pid", str(srv.p.pid)] + extra,
                       capture_output=True, text=True, timeout=timeout)
    if not r.stdout.strip(): raise RuntimeError("tls_load: " + r.stderr.strip())
    out = json.loads(r.stdout)
    if out["errors"]: raise RuntimeError(f"tls_load: {out['errors']} errors, {r.stderr.strip()[:200]}")
    if out.get("not_resumed"): raise RuntimeError(f"{out['not_resumed']} of {out['requests']} sessions were not as asked for (resumed or not)")
    return out

def cmd_verify(a):
    bad = 0
    for n in names(a):
        tests = [("full", ["--mode", "handshake", "--connections", "4"], "echo", 4096), ("resumed", ["--mode", "handshake", "--connections", "4", "--resume"], "echo", 4096)]
        if n not in OTHERS:
            tests += [(f"echo of {size} B", ["--connections", "7", "--size", str(size), "--verify"], "echo", buf) for size, buf in ((64, 4096), (16384, 4096), (16384, 16384), (60000, 16384))]
            tests += [("download", ["--mode", "download", "--connections", "3", "--size", "16384"], "download", 16384)]
        for what, extra, mode, buf in tests:
            try:
                with start(n, mode, buf) as s: r = generate(s, n, extra + ["--seconds", "0.2", "--warmup", "0.05"], timeout=20)
                if r["requests"] <= 20: raise RuntimeError(f"only {r['requests']}")
            except Exception as e: bad += 1; print("FAIL", n, what, str(e)[:300])
    print("\nverify, TLS:", "all well" if not bad else f"{bad} FAILED")
    return bad

def table(title, unit, rows):
    """rows: {server: {round: result}}; ratios round by round against the better of each kind of rival, then their median."""
    rate = (lambda r: r["bytes_s"] / 1e6) if unit == "16 KiB" else (lambda r: r["req_s"])
    cpu = lambda r: r["server_cpu_us_per_req"]
    def better(group):
        return min((n for n in group if rows.get(n)), key=lambda n: statistics.median(map(cpu, rows[n].values())), default=None)
    bases = {"Asio": better(ASIO), "hand": better(HAND)}
    head = "".join(f" × {b} |" for b in bases)
    print(f"\n### TLS: {title}\n\nRatios to {' and '.join(n for n in bases.values() if n)}, the least server CPU of their kind.\n")
    print(f"| server | {'MB' if unit == '16 KiB' else unit + 's'}/s median [min–max] |{head} server CPU µs/{unit} [min–max] |{head} p50 µs | p99 µs | server busy | client busy | sleeps |")
    print("|" + "---|" * (8 + 2 * len(bases)))
    med = lambda v, k: statistics.median(r[k] for r in v)
    def ratio(n, b, f):
        pairs = [f(rows[n][k]) / f(rows[b][k]) for k in rows[n] if k in rows[b] and f(rows[b][k])] if b else []
        return f" {statistics.median(pairs):.2f} |" if pairs else " - |"
    for n, v in rows.items():
        if not v: continue
        rs = list(v.values())
        print(f"| {n} | {spread([rate(r) for r in rs], lambda x: f'{x:,.0f}')} |" + "".join(ratio(n, b, rate) for b in bases.values())
              + f" {spread([cpu(r) for r in rs], lambda x: f'{x:.2f}')} |" + "".join(ratio(n, b, cpu) for b in bases.values())
              + f" {med(rs, 'p50_us'):.1f} | {med(rs, 'p99_us'):.1f} | {med(rs, 'server_util'):.2f} | {med(rs, 'client_util'):.2f} | {med(rs, 'server_sleeps_per_req'):.3f} |")
    sys.stdout.flush()

def cmd_load(a):
    servers = names(a)
    for sc in a.scenario.split(","):
        title, extra, mode, buf, unit, others = SCENARIOS[sc]
        rows = {n: {} for n in servers if others or n not in OTHERS}
        for rnd in range(a.rounds):
            for n in list(rows) if rnd % 2 == 0 else list(rows)[::-1]:
                try:
                    tries = []
                    while len(tries) < a.tries:  # as bench.py: a disturbed run is repeated, the least disturbed one counts
                        with start(n, mode, buf) as s:
                            tries.append(generate(s, n, extra + ["--seconds", str(a.seconds), "--warmup", str(a.warmup)]))
                        if disturbed(tries[-1], n) < 0.05: break
                    r = min(tries, key=lambda t: disturbed(t, n))
                    r["tries"] = len(tries)
                    rows[n][rnd] = r
                    record(a, {"scenario": "tls-" + sc, "server": n, "round": rnd, **r})
                except Exception as e: print("!!", sc, n, e, file=sys.stderr)
        bench.plot(f"tls-{sc}", f"Server CPU, TLS, {title}", f"microseconds per {unit}", {n: [r["server_cpu_us_per_req"] for r in v.values()] for n, v in rows.items() if v})
        table(f"{title}; {a.rounds} rounds of {a.seconds} s", unit, rows)
        for n in rows:
            if not rows[n]: print(f"\n**MISSING: {n} has no figure in this table.**")

def cmd_idle(a):
    """A user's buffer of 64 bytes, so that the figure is the library's and OpenSSL's."""
    rows = {n: [] for n in names(a) if n not in OTHERS}
    print(f"\n### TLS: memory per idle connection ({a.connections:,} connections after 100 others, each has echoed 64 bytes; user's buffers of 64 bytes, one for all in tls-hand, none in lent)\n")
    print("| server | RSS before, KiB | RSS bytes per connection | beyond tls-hand, which is OpenSSL's own with SSL_MODE_RELEASE_BUFFERS | share of tls-asio's beyond |\n|---|---|---|---|---|")
    base = {}
    for rnd in range(a.rounds):
        for n in rows:
            try:
                with start(n, "echo", 64) as s:
                    r = generate(s, n, ["--mode", "idle", "--connections", str(a.connections), "--warmup", "0.3"])
                rows[n].append(r["rss_per_conn"])
                base.setdefault(n, []).append(r["rss_base_kb"])
            except Exception as e: print("!!", n, e, file=sys.stderr)
    med = {n: statistics.median(v) for n, v in rows.items() if v}
    for n, v in med.items():
        beyond = v - med["tls-hand"] if "tls-hand" in med else None
        rival = med["tls-asio"] - med["tls-hand"] if "tls-asio" in med and "tls-hand" in med else None
        record(a, {"what": "tls-idle", "server": n, "value": v, "beyond": beyond})
        print(f"| {n} | {statistics.median(base[n]):.0f} | {spread(rows[n], lambda x: f'{x:,.0f}')} | " + (f"{beyond:+,.0f}" if beyond is not None else "-")
              + " | " + (f"{beyond / rival:.2f}" if rival else "-") + " |")
    sys.stdout.flush()

def by_object(path):
    """{object: own instructions} of a callgrind file."""
    out, ids, at, skip = {}, {}, "?", False
    for l in open(path):
        if l.startswith("ob="):
            number, _, name = l[3:].strip().partition(" ")
            if name: ids[number] = os.path.basename(name)
            at = ids.get(number, number)
        elif l.startswith("cob="):
            number, _, name = l[4:].strip().partition(" ")
            if name: ids[number] = os.path.basename(name)
        elif l.startswith("calls="): skip = True  # the next line is what the callee costs
        elif l[:1] in "0123456789+-*":
            if not skip: out[at] = out.get(at, 0) + int(l.split()[1])
            skip = False
    return out

# callgrind counts each byte of a `rep movsb` or `rep stosb` as an instruction; glibc uses vector instructions instead.
PLAIN_COPIES = {"GLIBC_TUNABLES": "glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000"}
def cmd_icount(a):
    # valgrind does not deliver the signal that ends a server inside of io_uring_enter.
    servers = [n for n in names(a) if not n.endswith("-uring")]
    print("\n### TLS: instructions of the server per unit (callgrind, g++ -O2; two run lengths subtracted)\n")
    print("Not of io_uring's servers: valgrind cannot end them.\n")
    if not shutil.which("valgrind"):
        print("**MISSING: valgrind is not installed, nothing is counted.**"); return
    print("| server | unit | instructions | in libcrypto and libssl | elsewhere (server, libc, library) | elsewhere, × tls-asio | × tls-hand |\n|---|---|---|---|---|---|---|")
    folder = os.path.abspath(CERT)
    def run(n, mode, extra, buf, count):
        profile = f"{folder}/callgrind.out"
        if os.path.exists(profile): os.unlink(profile)
        cmd = SERVERS[n]
        program = next(i for i, c in enumerate(cmd) if "srv_tls" in c)
        with_tool = cmd[:program] + ["/usr/bin/valgrind", "--tool=callgrind", "--callgrind-out-file=" + profile, os.path.join(B, cmd[program])] + cmd[program + 1:]
        bench.SERVERS["counted"] = with_tool
        with Server("counted", buf, 0, PLAIN_COPIES, mode=mode, patience=30) as s:
            r = generate(s, n, extra + ["--warmup", "0", "--seconds", "50", "--count", str(count)], timeout=100)
            time.sleep(0.3)
        if not os.path.exists(profile): raise RuntimeError("no profile")
        return r["requests"], by_object(profile)
    cells = (("echo64", "echo of 64 B, 1 connection", ["--connections", "1", "--size", "64"], 4096, 200, 1200),
             ("echo64x16", "echo of 64 B, 16 connections", ["--connections", "16", "--size", "64"], 4096, 400, 2000),
             ("bulk16k", "echo of 16 KiB, 1 connection", ["--connections", "1", "--size", "16384"], 16384, 50, 250),
             ("down16k", "download in messages of 16 KiB, 1 connection", ["--mode", "download", "--connections", "1", "--size", "16384"], 16384, 1000, 9000),
             ("full", "full handshake", ["--mode", "handshake", "--connections", "1"], 4096, 20, 60),
             ("resumed", "resumed handshake", ["--mode", "handshake", "--connections", "1", "--resume"], 4096, 20, 60))
    for key, unit, extra, buf, few, many in cells:
        if a.cells and key not in a.cells.split(","): continue
        seen = {}
        for n in sorted((x for x in servers if x not in OTHERS), key=lambda x: x not in ASIO + list(HAND)):
            try:
                mode = "download" if "download" in extra else "echo"
                (r1, i1), (r2, i2) = run(n, mode, extra, buf, few), run(n, mode, extra, buf, many)
                d = {k: (v - i1.get(k, 0)) / (r2 - r1) for k, v in i2.items()}
                total = sum(d.values())
                inside = sum(v for k, v in d.items() if k.startswith(("libcrypto", "libssl")))
                seen[n] = total - inside
                record(a, {"what": "tls-icount", "cell": key, "server": n, "value": total, "elsewhere": total - inside})
                print(f"| {n} | {unit} | {total:,.0f} | {inside:,.0f} | {total - inside:,.0f} | " + " | ".join(f"{seen[n] / seen[b]:.2f}" if seen.get(b) else "-" for b in ("tls-asio", "tls-hand")) + " |")
            except Exception as e: print("!!", n, unit, e, file=sys.stderr)
            sys.stdout.flush()

def cmd_targets(a):
    data = [json.loads(l) for l in open(a.out)] if os.path.exists(a.out) else []
    print("\n### TLS: what was aimed at\n\n| measure | target | measured | met |\n|---|---|---|---|")
    med = lambda v: statistics.median(v) if v else None
    def loads(sc, server): return {d["round"]: d for d in data if d.get("scenario") == "tls-" + sc and d.get("server") == server}
    def ratio(sc, x, rivals, key="server_cpu_us_per_req"):
        """x over the best of the rivals, by their medians of ratios."""
        v = []
        for y in rivals:
            p, q = loads(sc, x), loads(sc, y)
            pairs = [p[r][key] / q[r][key] for r in p if r in q and q[r][key]]
            if pairs: v.append(statistics.median(pairs))
        return max(v) if v and key == "server_cpu_us_per_req" else min(v) if v else None
    def row(what, target, cells, ok):
        cells = {k: v for k, v in cells.items() if v is not None}
        missed = [k for k, v in cells.items() if not ok(v)]
        num = lambda v: f"{v:,.0f}" if abs(v) >= 100 else f"{v:.3g}"
        print(f"| {what} | {target} | " + (", ".join(f"{k} {num(v)}" for k, v in cells.items()) or "-") + " | "
              + ("NOT MEASURED" if not cells else "yes" if not missed else "no" if len(missed) == len(cells) else "no: " + ", ".join(missed)) + " |")
    short = lambda n: n[len("tls-rouse-"):]
    for sc, (title, _, _, _, unit, _) in SCENARIOS.items():
        row(f"{title}: server CPU over the better Asio's", "< 1", {short(n): ratio(sc, n, ASIO) for n in ROUSE}, lambda v: v < 1)
    for sc in BULK:
        row(f"{SCENARIOS[sc][0]}: server CPU over the better hand-written loop's", "≤ 1.05", {short(n): ratio(sc, n, HAND) for n in ROUSE}, lambda v: v <= 1.05)
    for key in ("echo64", "echo64x16", "bulk16k", "down16k", "full", "resumed"):
        one = {d["server"]: d["value"] for d in data if d.get("what") == "tls-icount" and d["cell"] == key}
        best = lambda group: min((one[n] for n in group if n in one), default=None)
        row(f"instructions, {key}, over the better Asio's", "< 1", {short(n): one[n] / best(ASIO) for n in ROUSE if n in one and best(ASIO)}, lambda v: v < 1)
        if key in ("bulk16k", "down16k"): row(f"instructions, {key}, over the better hand-written loop's", "≤ 1.05", {short(n): one[n] / best(HAND) for n in ROUSE if n in one and best(HAND)}, lambda v: v <= 1.05)
    idle = {d["server"]: d for d in data if d.get("what") == "tls-idle"}
    beyond = lambda n: idle.get(n, {}).get("beyond")
    total = lambda n: idle.get(n, {}).get("value")
    row("memory per idle connection over Asio's, all of it", "≤ 1/3", {short(n): total(n) / total("tls-asio") for n in ROUSE if total(n) and total("tls-asio")}, lambda v: v <= 1 / 3)
    row("memory per idle connection over Asio's, beyond OpenSSL's own", "≤ 1/3", {short(n): beyond(n) / beyond("tls-asio") for n in ROUSE if beyond(n) is not None and beyond("tls-asio")}, lambda v: v <= 1 / 3)
    row("memory per idle connection beyond OpenSSL's own, bytes", "≤ 1,024", {short(n): beyond(n) for n in ROUSE}, lambda v: v <= 1024)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=["verify", "load", "idle", "icount", "targets"])
    p.add_argument("--servers", default="all")
    p.add_argument("--scenario", default=",".join(SCENARIOS))
    p.add_argument("--cells", default="", help="icount: only these")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--tries", type=int, default=4)
    p.add_argument("--seconds", type=float, default=0.6)
    p.add_argument("--warmup", type=float, default=0.15)
    p.add_argument("--connections", type=int, default=1000)
    p.add_argument("--out", default="")
    a = p.parse_args()
    certificate()
    return globals()["cmd_" + a.what](a) or 0

if __name__ == "__main__":
    sys.exit(main())
