#!/usr/bin/env bash
# Measures rouse beside hand-written engines and other libraries in alternating rounds, and writes medians with their range to
# build/bench/report.md, with plots beside it. `run.sh quick` takes about fifteen minutes on two quiet cores, `run.sh` longer. Wine is
# measured if it is installed. `run.sh tls` measures only TLS (half an hour), `run.sh tls quick` is a smoke test of that part.
set -eu
cd "$(dirname "$0")"
out=../../build/bench
mkdir -p "$out"
part=all
if [ "${1:-}" = tls ]; then
  part=tls
  shift
fi
need=""
packages="make libasio-dev libssl-dev openssl nginx valgrind gnuplot-nox"
[ $part = tls ] || packages="$packages libuv1-dev liburing-dev libboost-context-dev time golang-go cargo librust-tokio-dev"
for package in $packages; do
  dpkg -s "$package" > /dev/null 2>&1 || need="$need $package"
done
command -v g++ > /dev/null || need="$need g++"
if [ -n "$need" ]; then
  echo "installing:$need"
  apt-get update > "$out/apt.log" 2>&1
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $need >> "$out/apt.log" 2>&1 || { tail -5 "$out/apt.log"; exit 1; }
fi
: > "$out/make.log"
[ $part = tls ] || make -j2 >> "$out/make.log" 2>&1 || { tail -20 "$out/make.log"; exit 1; }
# What does not compile is missing in the tables, which say so; the rest is measured.
rm -f "$out/srv_tls_rouse"
make -k -j2 tls >> "$out/make.log" 2>&1 || { echo "MISSING: a program for TLS was not built" >&2; tail -20 "$out/make.log" >&2; }
export BENCH_PLOTS=$out
[ "$(id -u)" = 0 ] || export BENCH_NICE=0
# Figures as JSON lines, the source of the table of targets. An absolute path, because compile.sh changes the folder.
data=$(cd "$out" && pwd)/figures.jsonl
report=report.md
if [ $part = tls ]; then
  data=$(cd "$out" && pwd)/figures_tls.jsonl
  report=report_tls.md
fi
: > "$data"
export BENCH_OUT=$data
if [ "${1:-full}" = quick ]; then
  rounds=3 seconds=0.4 tls="--rounds 1 --tries 1 --seconds 0.2" batches=1x64,4x64,16x64,64x64
  scenarios=pp1-64s,pp64-64,pp64-4k lent_too=conn16 crowd=no
else
  rounds=5 seconds=0.6 tls="--rounds 5 --seconds 0.6" batches=1x64,2x64,4x64,16x64,64x64,256x64,1024x64,1x4096,4x4096,16x4096,64x4096
  scenarios=pp1-64s,pp64-64,pp64-4k,pipe16x16 lent_too=pp1024-64,stream8,conn16 crowd=yes
fi
servers=rouse,epoll-lt,epoll-et,uring-rf,uring-ms,asio-cb,asio-co,asio-cb-uring,asio-co-uring,uv-try,threads
measure() { python3 bench.py "$@" --out "$data"; }
measure_tls() {
  echo
  echo "TLS: $(openssl version), the same libssl for all; Debian's nginx $(dpkg-query -W -f '${Version}' nginx)"
  python3 bench_tls.py verify || true
  python3 bench_tls.py load $tls --out "$data"
  python3 bench_tls.py idle --rounds 1 --out "$data"
  python3 bench_tls.py icount --out "$data"
  python3 bench_tls.py targets --out "$data"
}
{
  echo "# Measured $(date -u +%Y-%m-%d), Linux $(uname -r), $(g++ --version | head -1), $(nproc) cores"
  echo
  versions=$(for package in libasio-dev libuv1-dev liburing-dev golang-go rustc librust-tokio-dev; do
    dpkg-query -W -f ', ${Package} ${Version}' $package 2> /dev/null || true; done)
  echo "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)$versions"
  echo
  if [ $part = tls ]; then
    measure_tls
    exit
  fi
  measure verify --servers rouse,lent,peers
  measure lockstep --rounds $rounds --batches $batches
  measure load --servers $servers,peers --scenario $scenarios --rounds $rounds --seconds $seconds
  measure load --servers $servers,lent,peers --scenario $lent_too --rounds $rounds --seconds $seconds
  [ "$crowd" = no ] || measure load --servers rouse-callback-uring,rouse-coroutine-uring,rouse-fiber-uring,rouse-lent-callback-uring,rouse-callback-epoll,epoll-lt,uring-ms,uring-rf \
    --scenario pp8000-64 --rounds $rounds --seconds 2 --warmup 1
  measure scaling --rounds $rounds --seconds $seconds
  measure idle --servers rouse,lent,epoll-lt,uring-ms,asio-cb,asio-co,uv-try,threads --rounds 1
  measure alloc --servers $servers,lent
  measure icount --servers rouse-callback-epoll,rouse-coroutine-epoll,rouse-fiber-epoll,rouse-callback-uring,rouse-coroutine-uring,rouse-fiber-uring,epoll-et,uring-rf,asio-cb,asio-co,uv-try
  measure micro
  measure wine
  printf '\n### Compile time and size\n\n'
  sh compile.sh
  measure targets
  measure_tls
} | tee "$out/$report"
