#!/bin/bash
# Runs the examples: every engine x every server, under load from echo_client and from a client that knows nothing of rouse;
# the time server is asked by rdate, resp_client asks a Redis server, tasklet_echo must tell what its clients do and end with 0 on
# Ctrl-C.
#
#   examples/run.sh [--strict]      on Debian, as root if tools are missing; --strict: an engine that the machine refuses fails
#
# Linux servers run natively, Windows ones under Wine; the clients are always native. ROUSE_INCLUDE (default: include/) says
# where the headers are. Builds and logs go to build/examples. Exits with the number of cells that failed.
set -u
cd "$(dirname "$0")/.." || exit 1
strict=${1:-}
out=$PWD/build/examples
include=${ROUSE_INCLUDE:-include}
servers=(echo_coroutine echo_fiber echo_thread echo_callback echo_per_core own_waker own_waker_future two_wakers)
linux_servers=(own_waker_boost_fiber)
patience=60 # seconds: a client that takes longer has failed
mkdir -p "$out/linux" "$out/windows" "$out/log"
rm -f "$out"/log/*

# ---- tools

declare -A package_of=([g++]=g++ [python3]=python3 [rdate]=rdate [redis-server]=redis-server [x86_64-w64-mingw32-g++-posix]=g++-mingw-w64-x86-64-posix [wine]="wine wine64")
missing=()
for tool in "${!package_of[@]}"; do
  command -v "$tool" >/dev/null || read -ra missing <<<"${missing[*]} ${package_of[$tool]}"
done
[ -e /usr/include/hiredis/hiredis.h ] || missing+=(libhiredis-dev)
[ -e /usr/include/boost/fiber/all.hpp ] || missing+=(libboost-fiber-dev)
[ -e /etc/protocols ] || missing+=(netbase) # Wine looks protocols up there
if [ ${#missing[@]} != 0 ]; then
  echo "installing ${missing[*]}"
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } \
    >"$out/log/apt" 2>&1 || { tail "$out/log/apt"; exit 1; }
fi

# ---- programs

compile() { # platform source: a program in $out/platform
  local flags=(-std=c++20 -O2 -Wall -Wextra "-I${include//:/ -I}") name=$2
  read -ra flags <<<"${flags[*]}"
  case $1 in
  linux)
    local libraries=()
    case $name in
    install_hiredis) libraries=(-lhiredis) ;;
    own_waker_boost_fiber) libraries=(-lboost_fiber -lboost_context) ;;
    esac
    g++ "${flags[@]}" -pthread "examples/$name.cpp" -o "$out/linux/$name" "${libraries[@]}"
    ;;
  windows) x86_64-w64-mingw32-g++-posix "${flags[@]}" -D_WIN32_WINNT=0x0A00 "examples/$name.cpp" -o "$out/windows/$name.exe" \
    -static -lws2_32 -lmswsock ;;
  esac >"$out/log/compile.$1.$name" 2>&1 || { echo "compile $1 $name failed:"; head -n 5 "$out/log/compile.$1.$name"; }
}
export -f compile
export out include
rm -f "$out"/linux/* "$out"/windows/*
echo "compiling"
{
  printf 'linux %s\n' echo_client time_udp tasklet_echo resp_client install_hiredis "${servers[@]}" "${linux_servers[@]}"
  printf 'windows %s\n' time_udp tasklet_echo resp_client "${servers[@]}"
} | xargs -P "$(nproc)" -L 1 bash -c 'compile "$0" "$1"'

# ---- Wine: a prefix of its own. The first process starts Wine's services, which would keep our pipes open: it gets none.

export WINEPREFIX=$out/wine WINEDEBUG=-all WINEDLLOVERRIDES="mscoree,mshtml,winedbg.exe=" WINEARCH=win64
wineserver=$(command -v wineserver || echo /usr/lib/wine/wineserver64)
[ -x "$wineserver" ] || wineserver=/usr/lib/wine/wineserver
echo "starting Wine"
"$wineserver" -p </dev/null >/dev/null 2>&1
timeout 120 wine cmd /c exit </dev/null >/dev/null 2>&1 || echo "Wine does not start"
trap '"$wineserver" -k >/dev/null 2>&1' EXIT

# ---- one cell of the table

value() { sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" <<<"$2"; }
row() { printf '%-9s %-21s %11s %11s %8s %8s  %-14s %s\n' "$@"; }
table=()
failures=0
skipped=0

cell() { # engine server connections rounds foreign-connections command...
  local engine=$1 server=$2 connections=$3 rounds=$4 strangers=$5 log=$out/log/$1.$2
  shift 5
  local pid line='' port load='' foreign='' result=ok
  exec {output}< <(ROUSE_ENGINE=$engine exec "$@" 0 2>"$log.server")
  pid=$!
  IFS= read -r -t "$patience" -u "$output" line
  line=${line%$'\r'}
  port=$(sed -n 's/^listening on 127\.0\.0\.1:\([0-9]*\), engine: .*/\1/p' <<<"$line")
  if [ -n "$port" ]; then
    load=$(timeout "$patience" "$out/linux/echo_client" "$port" "$connections" "$rounds" 2>"$log.client") || result="echo_client failed"
    timeout "$patience" "$out/linux/echo_client" "$port" 2 3 1000000 >"$log.large" 2>&1 || result="large messages failed"
    foreign=$(timeout "$patience" python3 examples/foreign_client.py "$port" "$strangers" 2>"$log.foreign") || result="foreign_client failed"
    # After all that, and the resets among it, it must still serve.
    timeout "$patience" "$out/linux/echo_client" "$port" 1 1 >"$log.after" 2>&1 || result="served no more"
    [[ ${line,,} == *"engine: $engine"* ]] || result="other engine: ${line#*engine: }"
    kill "$pid" 2>/dev/null || result="server died"
  elif grep -q "no engine could be started" "$log.server"; then
    result="SKIPPED: $(sed -n 's/.*could be started: //p' "$log.server")"
  else
    kill "$pid" 2>/dev/null
    result="did not start"
  fi
  wait "$pid" 2>/dev/null
  exec {output}<&-
  case $result in
  ok) ;;
  SKIPPED*) skipped=$((skipped + 1)) ;;
  *)
    failures=$((failures + 1))
    tail -qn 3 "$log".* 2>/dev/null
    ;;
  esac
  table+=("$(row "$engine" "$server" "$(value connections "$load")" "$(value requests_per_second "$load")" "$(value p50_us "$load")" \
    "$(value p99_us "$load")" "${foreign%% bytes*}" "$result")")
  echo "${table[-1]}"
}

# What became of an example that is no echo server.
conclude() { # engine example asked-by result
  case $4 in
  ok) ;;
  SKIPPED*) skipped=$((skipped + 1)) ;;
  *) failures=$((failures + 1)) ;;
  esac
  table+=("$(row "$1" "$2" - - - - "$3" "$4")")
  echo "${table[-1]}"
}

# The time server: rdate asks, and must get this minute's time.
time_cell() { # engine command...
  local engine=$1 log=$out/log/$1.time_udp
  shift
  local pid line='' port result=ok told
  exec {output}< <(ROUSE_ENGINE=$engine exec "$@" 0 2>"$log.server")
  pid=$!
  IFS= read -r -t "$patience" -u "$output" line
  port=$(sed -n 's/^listening on 127\.0\.0\.1:\([0-9]*\), engine: .*/\1/p' <<<"${line%$'\r'}")
  if [ -n "$port" ]; then
    for _ in 1 2 3; do told=$(timeout "$patience" rdate -u -p -o "$port" 127.0.0.1 2>>"$log.rdate"); done
    local off=$(($(date +%s) - $(date -d "${told:-@0}" +%s)))
    [ "${off#-}" -le 5 ] || result="told the time $off seconds wrong"
    kill "$pid" 2>/dev/null || result="server died"
  elif grep -q "no engine could be started" "$log.server"; then
    result="SKIPPED: $(sed -n 's/.*could be started: //p' "$log.server")"
  else
    kill "$pid" 2>/dev/null
    result="did not start"
  fi
  wait "$pid" 2>/dev/null
  exec {output}<&-
  conclude "$engine" time_udp rdate "$result"
}

# A Redis server on a free port, which keeps nothing; the client talks to it under each waker.
redis_begin() {
  redis_port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --appendonly no --dir "$out" >"$out/log/redis" 2>&1 &
  redis=$!
  for _ in $(seq 100); do redis-cli -p "$redis_port" ping >/dev/null 2>&1 && return; sleep 0.1; done
}
redis_end() { kill "$redis" && wait "$redis"; }
redis_cell() { # engine command...
  local engine=$1 log=$out/log/$1.resp_client waker result=ok
  shift
  local wanted='PONG|OK|hello, world|nil|ERR value is not an integer or out of range|OK|41|42|[hello, world, nil, 42]|2|'
  for waker in coroutines fibers threads; do
    ROUSE_ENGINE=$engine timeout "$patience" "$@" "$redis_port" $waker </dev/null >"$log" 2>"$log.$waker" || result="$waker failed"
    [ "$(tr -d '\r' <"$log" | sed 's/^[A-Z]*: //' | tr '\n' '|')" = "$wanted" ] || result="$waker: other answers"
    ! grep -q "no engine could be started" "$log.$waker" || result="SKIPPED: $(sed -n 's/.*could be started: //p' "$log.$waker")"
  done
  conclude "$engine" resp_client redis-server "$result"
}

# The server that tells what happens: as many clients come, send and leave as there were, and Ctrl-C ends it.
tasklet_cell() { # engine command...
  local engine=$1 log=$out/log/$1.tasklet_echo pid port='' foreign='' result=ok
  shift
  ROUSE_ENGINE=$engine "$@" 0 >"$log.told" 2>"$log.server" </dev/null &
  pid=$!
  for _ in $(seq $((patience * 10))); do
    port=$(sed -n 's/^listening on 127\.0\.0\.1:\([0-9]*\), engine: .*/\1/p' "$log.told")
    [ -z "$port" ] && kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  if [ -n "$port" ]; then
    foreign=$(timeout "$patience" python3 examples/foreign_client.py "$port" 3 2>"$log.foreign") || result="foreign_client failed"
    kill -INT "$pid"
    for _ in $(seq $((patience * 10))); do kill -0 "$pid" 2>/dev/null && sleep 0.1 || break; done
    kill -KILL "$pid" 2>/dev/null && result="did not end"
    wait "$pid" || result="ended with $?"
    for what in connected sent left; do
      [ "$(grep -c " $what" "$log.told")" -ge 3 ] || result="not told who $what"
    done
    grep -q '^interrupted' "$log.told" || result="was not interrupted"
  elif grep -q "no engine could be started" "$log.server"; then
    result="SKIPPED: $(sed -n 's/.*could be started: //p' "$log.server")"
  else
    kill "$pid" 2>/dev/null
    result="did not start"
  fi
  conclude "$engine" tasklet_echo "${foreign%% bytes*}" "$result"
}

# A library that knows nothing of rouse, against its real server: quicker together than in turn.
hiredis_cell() { # engine
  local log=$out/log/$1.install_hiredis result=ok told
  told=$(ROUSE_ENGINE=$1 timeout "$patience" "$out/linux/install_hiredis" "$redis_port" 2>"$log.client") || result="install_hiredis failed"
  if grep -q "no engine could be started" "$log.client"; then
    result="SKIPPED: $(sed -n 's/.*could be started: //p' "$log.client")"
  fi
  echo "$told"
  conclude "$1" install_hiredis redis-server "$result"
}

for engine in io_uring epoll; do
  for server in "${servers[@]}" "${linux_servers[@]}"; do cell $engine "$server" 64 500 32 "$out/linux/$server"; done
done
for engine in io_uring epoll; do time_cell $engine "$out/linux/time_udp"; done
for engine in io_uring epoll; do tasklet_cell $engine "$out/linux/tasklet_echo"; done
tasklet_cell iocp wine "$out/windows/tasklet_echo.exe"
time_cell iocp wine "$out/windows/time_udp.exe"
redis_begin
for engine in io_uring epoll; do
  redis_cell $engine "$out/linux/resp_client"
  hiredis_cell $engine
done
redis_cell iocp wine "$out/windows/resp_client.exe"
redis_end
for server in "${servers[@]}"; do cell iocp "$server" 16 50 8 wine "$out/windows/$server.exe"; done

echo
row engine server connections requests/s "p50 us" "p99 us" foreign result
printf '%s\n' "${table[@]}"
[ $skipped = 0 ] || echo "$skipped cells SKIPPED: the machine refuses the engine (--strict makes that a failure)"
[ "$strict" != --strict ] || failures=$((failures + skipped))
[ $failures = 0 ] || echo "$failures cells failed; logs in build/examples/log"
exit $failures
