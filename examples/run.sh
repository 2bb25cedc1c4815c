#!/bin/bash
# Runs the examples: each echo server on each engine, under load from echo_client and from a client without rouse. rdate asks the time
# server, resp_client asks a Redis server, tasklet_echo must print what its clients do, curl and wrk fetch from http_files, socks5 stands
# between clients and servers, chat has guests, and port_scanner must find two servers. TLS, on Linux: curl fetches from http_files,
# https_get from openssl s_server and from http_files, openssl s_client uses echo_tls, resp_client a Redis server. A program that Ctrl-C
# ends must exit with 0.
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

declare -A package_of=([g++]=g++ [python3]=python3 [curl]=curl [wrk]=wrk [rdate]=rdate [redis-server]=redis-server [openssl]=openssl [x86_64-w64-mingw32-g++-posix]=g++-mingw-w64-x86-64-posix [wine]="wine wine64")
missing=()
for tool in "${!package_of[@]}"; do
  command -v "$tool" >/dev/null || read -ra missing <<<"${missing[*]} ${package_of[$tool]}"
done
[ -e /usr/include/hiredis/hiredis.h ] || missing+=(libhiredis-dev)
ls /usr/lib/*/libboost_fiber.so > /dev/null 2>&1 || missing+=(libboost-fiber-dev) # the headers alone come with libboost-dev
[ -e /usr/include/openssl/ssl.h ] || missing+=(libssl-dev)
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
    http_files | resp_client | https_get | echo_tls) libraries=(-lssl -lcrypto) flags+=(-DWITH_TLS) ;;
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
  printf 'linux %s\n' echo_client time_udp tasklet_echo http_files socks5 chat port_scanner resp_client install_hiredis https_get echo_tls \
    "${servers[@]}" "${linux_servers[@]}"
  printf 'windows %s\n' time_udp tasklet_echo http_files socks5 chat port_scanner resp_client "${servers[@]}"
} | xargs -P "$(nproc)" -L 1 bash -c 'compile "$0" "$1"'

# ---- Wine, with its own prefix. The first process gets no pipes: it starts Wine's services, which would keep them open.

export WINEPREFIX=$out/wine WINEDEBUG=-all WINEDLLOVERRIDES="mscoree,mshtml,winedbg.exe=" WINEARCH=win64
wineserver=$(command -v wineserver || echo /usr/lib/wine/wineserver64)
[ -x "$wineserver" ] || wineserver=/usr/lib/wine/wineserver
echo "starting Wine"
mkdir -p "$WINEPREFIX" # the server needs the directory
"$wineserver" -p </dev/null >/dev/null 2>&1
timeout 120 wine cmd /c exit </dev/null >/dev/null 2>&1 || echo "Wine does not start"
trap '"$wineserver" -k >/dev/null 2>&1' EXIT

# ---- certificates for localhost

certificates=$out/certificates
rm -rf "$certificates"
tests/tls/certificates.sh "$certificates" || exit

# ---- one cell of the table

value() { sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" <<<"$2"; }
row() { printf '%-9s %-21s %11s %11s %8s %8s  %-14s %s\n' "$@"; }
table=()
failures=0
skipped=0

# Records a failure; the first one is reported.
fail() { [ "$result" != ok ] || result=$1; }

# The reason for which no engine was started, if the program printed one.
refused() { sed -n 's/.*no engine could be started: /SKIPPED: /p' "$1"; }

# Starts a server and waits for its port. Sets the caller's pid, port and result: ok, or the reason for having no port.
start() { # engine log command...
  local engine=$1 log=$2
  shift 2
  ROUSE_ENGINE=$engine "$@" >"$log.told" 2>"$log.server" </dev/null &
  pid=$!
  for _ in $(seq $((patience * 20))); do
    port=$(sed -n 's/^listening on 127\.0\.0\.1:\([0-9]*\), engine: .*/\1/p' "$log.told")
    [ -z "$port" ] && kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
  done
  result=$(refused "$log.server")
  if [ -n "$port" ]; then
    grep -qi "engine: $engine" "$log.told" && result=ok || result="other engine: $(sed -n 's/.*engine: //p' "$log.told")"
  elif [ -z "$result" ]; then
    stop "$pid" KILL
    result="did not start"
  fi
}

# Ends a server with a signal. If a code is given, the server must exit with it.
stop() { # pid signal [code]
  kill "-$2" "$1" 2>/dev/null || fail "server died"
  for _ in $(seq $((patience * 20))); do kill -0 "$1" 2>/dev/null && sleep 0.05 || break; done
  kill -KILL "$1" 2>/dev/null && fail "did not end"
  wait "$1" 2>/dev/null
  local code=$?
  [ "$code" = "${3:-$code}" ] || fail "ended with $code"
}

conclude() { # engine example asked-by result [connections requests/s p50 p99]
  case $4 in
  ok) ;;
  SKIPPED*) skipped=$((skipped + 1)) ;;
  *)
    failures=$((failures + 1))
    tail -qn 3 "$out/log/$1.$2".* 2>/dev/null
    ;;
  esac
  table+=("$(row "$1" "$2" "${5:--}" "${6:--}" "${7:--}" "${8:--}" "$3" "$4")")
  echo "${table[-1]}"
}

cell() { # engine server connections rounds foreign-connections command...
  local engine=$1 server=$2 connections=$3 rounds=$4 strangers=$5 log=$out/log/$1.$2 pid port result load='' foreign=''
  shift 5
  start "$engine" "$log" "$@" 0
  if [ -n "$port" ]; then
    load=$(timeout "$patience" "$out/linux/echo_client" "$port" "$connections" "$rounds" 2>"$log.client") || fail "echo_client failed"
    timeout "$patience" "$out/linux/echo_client" "$port" 2 3 1000000 >"$log.large" 2>&1 || fail "large messages failed"
    foreign=$(timeout "$patience" python3 examples/foreign_client.py "$port" "$strangers" 2>"$log.foreign") || fail "foreign_client failed"
    # After all that, resets included, it must still serve.
    timeout "$patience" "$out/linux/echo_client" "$port" 1 1 >"$log.after" 2>&1 || fail "no longer serves"
    stop "$pid" TERM
  fi
  conclude "$engine" "$server" "${foreign%% bytes*}" "$result" "$(value connections "$load")" \
    "$(value requests_per_second "$load")" "$(value p50_us "$load")" "$(value p99_us "$load")"
}

# The time server: rdate must get the current time from it.
time_cell() { # engine command...
  local engine=$1 log=$out/log/$1.time_udp pid port result told
  shift
  start "$engine" "$log" "$@" 0
  if [ -n "$port" ]; then
    for _ in 1 2 3; do told=$(timeout "$patience" rdate -u -p -o "$port" 127.0.0.1 2>>"$log.rdate"); done
    local off=$(($(date +%s) - $(date -d "${told:-@0}" +%s)))
    [ "${off#-}" -le 5 ] || fail "the time is $off seconds wrong"
    stop "$pid" TERM
  fi
  conclude "$engine" time_udp rdate "$result"
}

# A Redis server on two free ports, one of them for TLS, which stores nothing on disk. The client uses it under each waker.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
redis_begin() {
  redis_port=$(free_port) redis_tls_port=$(free_port)
  redis-server --port "$redis_port" --tls-port "$redis_tls_port" --tls-cert-file "$certificates/good.pem" \
    --tls-key-file "$certificates/good.key" --tls-ca-cert-file "$certificates/root.pem" --tls-auth-clients no \
    --bind 127.0.0.1 --save '' --appendonly no --dir "$out" >"$out/log/redis" 2>&1 &
  redis=$!
  for _ in $(seq 100); do redis-cli -p "$redis_port" ping >/dev/null 2>&1 && return; sleep 0.1; done
}
redis_end() { kill "$redis" && wait "$redis"; }
redis_cell() { # engine roots command...; roots: a file for TLS, or empty
  local engine=$1 roots=$2 name=resp_client${2:+,_TLS} waker result=ok port=$redis_port
  local log=$out/log/$1.$name
  [ -z "$roots" ] || port=$redis_tls_port
  shift 2
  local wanted='PONG|OK|hello, world|nil|ERR value is not an integer or out of range|OK|41|42|[hello, world, nil, 42]|2|'
  for waker in coroutines fibers threads; do
    ROUSE_ENGINE=$engine timeout "$patience" "$@" "$port" $waker ${roots:+"$roots"} </dev/null >"$log" 2>"$log.$waker" || fail "$waker failed"
    [ "$(tr -d '\r' <"$log" | sed 's/^[A-Z]*: //' | tr '\n' '|')" = "$wanted" ] || fail "$waker: other answers"
    [ -z "$(refused "$log.$waker")" ] || result=$(refused "$log.$waker")
  done
  conclude "$engine" "$name" redis-server "$result"
}

# The server that prints what happens: it must print each client's arrival, bytes and end, and Ctrl-C must end it.
tasklet_cell() { # engine command...
  local engine=$1 log=$out/log/$1.tasklet_echo pid port result foreign=''
  shift
  start "$engine" "$log" "$@" 0
  if [ -n "$port" ]; then
    foreign=$(timeout "$patience" python3 examples/foreign_client.py "$port" 3 2>"$log.foreign") || fail "foreign_client failed"
    stop "$pid" INT 0
    for what in connected sent left; do
      [ "$(grep -c " $what" "$log.told")" -ge 3 ] || fail "a line with $what is missing"
    done
    grep -q '^interrupted' "$log.told" || fail "was not interrupted"
  fi
  conclude "$engine" tasklet_echo "${foreign%% bytes*}" "$result"
}

# Prints the server's reply to the bytes that printf writes, until the server closes.
ask() { # port format argument...
  local conn port=$1
  shift
  exec {conn}<>"/dev/tcp/127.0.0.1/$port" || return
  # shellcheck disable=SC2059
  printf "$@" >&"$conn"
  timeout "$patience" cat <&"$conn"
  exec {conn}>&-
}

# A web site with difficult files: an empty one, a large one, a name with a space. Files beside it do not belong to it.
site=$out/site
site_begin() {
  mkdir -p "$site/folder"
  : >"$site/empty.txt"
  head -c 5000000 /dev/urandom >"$site/large.bin"
  echo "<p>hello" | tee "$site/index.html" "$site/a b.html" >"$site/folder/index.html"
  echo secret | tee "$site/.hidden" >"$out/secret.txt"
  unset http_proxy all_proxy ALL_PROXY # of curl
  python3 -u -m http.server --directory "$site" --bind ::1 0 >"$out/log/site_on_ipv6" 2>&1 </dev/null &
  ipv6_server=$!
  for _ in $(seq 100); do
    site_on_ipv6=$(sed -n 's/^Serving.*(\(.*\)\/).*/\1/p' "$out/log/site_on_ipv6")
    [ -z "$site_on_ipv6" ] && kill -0 "$ipv6_server" 2>/dev/null && sleep 0.05 || break
  done
  [ -n "$site_on_ipv6" ] || echo "no IPv6 here: socks5 is not tested with it"
}
site_end() { kill "$ipv6_server" 2>/dev/null && wait "$ipv6_server" 2>/dev/null; }

# Whether the files of the site arrive unchanged, byte for byte.
fetch_site() { # url curl-option...
  local url=$1 name
  shift
  for name in empty.txt large.bin 'a b.html'; do
    curl -sf --max-time "$patience" "$@" "$url/${name// /%20}" | cmp - "$site/$name" || return
    [ "${PIPESTATUS[0]}" = 0 ] || return
  done
}

# The web server: curl fetches files and other paths; then wrk fetches as much as it can.
http_cell() { # engine command...
  local engine=$1 log=$out/log/$1.http_files pid port result load=''
  shift
  start "$engine" "$log" "$@" 0 "$site"
  if [ -n "$port" ]; then
    local url=http://127.0.0.1:$port curl=(curl -s --max-time "$patience" --path-as-is) wanted path rest got
    fetch_site "$url" >"$log.files" 2>&1 || fail "other bytes"
    while read -r wanted path rest; do
      read -ra rest <<<"$rest"
      got=$("${curl[@]}" -o "$log.body" -w '%{http_code}' "${rest[@]}" "$url$path")
      [ "$got" = "$wanted" ] || fail "$path ${rest[*]}: $got"
      ! grep -q secret "$log.body" || fail "$path: not of the site"
    done <<END
200 /
200 /folder?query
404 /none
404 /folder/none
403 /../secret.txt
403 /%2e%2e/secret.txt
403 /folder/..%2f../../secret.txt
403 //etc/hostname
403 /.hidden
400 /index.html%00.txt
400 /%zz
400 /index.html -H Host:
405 / -d body
431 / -H X:$(head -c 9000 /dev/zero | tr '\0' x)
END
    [ "$("${curl[@]}" -I "$url/large.bin" | tr -d '\r' | sed -n 's/^Content-Length: //p')" = 5000000 ] || fail "HEAD: no length"
    [ "$("${curl[@]}" -o "$log.body" -o "$log.body" -w '%{num_connects}' "$url/" "$url/none")" = 10 ] || fail "kept no connection"
    local request='%s / HTTP/1.1\r\nHost: x\r\n%s\r\n'
    got=$(ask "$port" "$request$request$request" GET '' HEAD '' GET $'Connection: close\r\n' | tr -d '\r')
    [ "$(grep -c '^HTTP/1.1 200 OK$\|^<p>hello$' <<<"$got")" = 5 ] || fail "three at once failed"
    load=$(wrk -t1 -c32 -d1s --timeout "$patience" --latency "$url/index.html") || fail "wrk failed"
    ! grep -E 'Socket errors|Non-2xx' <<<"$load" || fail "wrk had errors"
    stop "$pid" INT 0
  fi
  read -ra load <<<"$(awk '
    function us(t) { return t ~ /us$/ ? t : t ~ /ms$/ ? t * 1000 : t * 1000000 }
    $1 == "50%" { p50 = us($2) } $1 == "99%" { p99 = us($2) } $1 == "Requests/sec:" { n = $2 }
    END { if (n) printf "%d %d %d", n, p50, p99 }' <<<"$load")"
  conclude "$engine" http_files "curl, wrk" "$result" 32 "${load[@]}"
}

# The web server over TLS, of which curl and https_get fetch the files.
https_cell() { # engine
  local engine=$1 log=$out/log/$1.http_files,_TLS pid port result told root=$certificates/root.pem
  start "$engine" "$log" "$out/linux/http_files" 0 "$site" "$certificates/good.pem" "$certificates/good.key"
  if [ -n "$port" ]; then
    local url=https://localhost:$port
    fetch_site "$url" --cacert "$root" >"$log.files" 2>&1 || fail "other bytes"
    [ "$(curl -s --cacert "$root" -w '%{num_connects}' "$url/" -o "$log.body" "$url/none" -o "$log.body")" = 10 ] || fail "kept no connection"
    curl -s --max-time "$patience" "$url/" >/dev/null 2>&1 && fail "curl trusts it without its root"
    [ -z "$(ask "$port" 'GET / HTTP/1.0\r\n\r\n' | grep -a '^HTTP')" ] || fail "answers without TLS"
    ROUSE_ENGINE=$engine timeout "$patience" "$out/linux/https_get" "$url/large.bin" "$root" 2>"$log.client" | cmp - "$site/large.bin" ||
      fail "https_get: other bytes"
    told=$(ROUSE_ENGINE=$engine timeout "$patience" "$out/linux/https_get" "$url/none" "$root" 2>&1) && fail "https_get: found none"
    [[ $told = *"404 Not Found"* ]] || fail "https_get: $told"
    stop "$pid" INT 0
  fi
  conclude "$engine" "http_files,_TLS" "curl, https_get" "$result"
}

# The TLS client, against the server of OpenSSL: it accepts the right certificate only.
https_get_cell() { # engine
  local log=$out/log/$1.https_get result=ok told port name
  local -A why=([expired]="has expired" [stranger]="unable to get local issuer certificate" [ip]="hostname mismatch" [good]="")
  for name in "${!why[@]}"; do
    port=$(free_port)
    (cd "$site" && exec openssl s_server -WWW -accept "127.0.0.1:$port" -cert "$certificates/$name.pem" -key "$certificates/$name.key" -quiet) \
      >"$log.server" 2>&1 </dev/null &
    local server=$!
    for _ in $(seq 100); do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.1; done
    ROUSE_ENGINE=$1 timeout "$patience" "$out/linux/https_get" "https://localhost:$port/large.bin" "$certificates/root.pem" \
      >"$log.page" 2>"$log.client"
    told=$?
    if [ "$name" = good ]; then
      [ $told = 0 ] && cmp "$log.page" "$site/large.bin" || fail "good: $told"
    else
      [ $told = 1 ] && grep -qi "${why[$name]}" "$log.client" || fail "$name: $told, $(tail -n 1 "$log.client")"
    fi
    [ -z "$(refused "$log.client")" ] || result=$(refused "$log.client")
    kill "$server" 2>/dev/null
    wait "$server" 2>/dev/null
  done
  conclude "$1" https_get "openssl s_server" "$result"
}

# The echo server with two ports: each of its clients, plain and TLS, gets its bytes back, also while another one says nothing.
echo_tls_cell() { # engine
  local engine=$1 log=$out/log/$1.echo_tls pid port result tls_port told silent version client client_PID
  start "$engine" "$log" "$out/linux/echo_tls" "$certificates/good.pem" "$certificates/good.key" 0
  if [ -n "$port" ]; then
    tls_port=$(sed -n 's/^TLS on 127\.0\.0\.1:\([0-9]*\)$/\1/p' "$log.told")
    exec {silent}<>"/dev/tcp/127.0.0.1/$tls_port"
    timeout "$patience" "$out/linux/echo_client" "$port" 8 100 >"$log.client" 2>&1 || fail "echo_client failed"
    for version in tls1_2 tls1_3; do
      coproc client { exec openssl s_client -connect "127.0.0.1:$tls_port" -servername localhost -verify_hostname localhost \
        -verify_return_error -CAfile "$certificates/root.pem" -"$version" -quiet 2>"$log.$version"; }
      echo "hello over $version" >&"${client[1]}"
      read -r -t "$patience" told <&"${client[0]}"
      [ "$told" = "hello over $version" ] || fail "$version: ${told:-no answer}"
      kill "$client_PID" && wait "$client_PID" 2>/dev/null
    done
    exec {silent}>&-
    stop "$pid" INT 0
  fi
  conclude "$engine" echo_tls "openssl s_client" "$result"
}

# The proxy: curl fetches the site through it, by name and by address; foreign_client uses an echo service through it and must notice
# no difference. For a destination that cannot be reached the proxy sends an error code, which curl reports with its error 97.
socks_cell() { # engine folder suffix [wine]
  local engine=$1 log=$out/log/$1.socks5 run=("${@:4}") pid port result=ok foreign='' name told started=()
  local -A port_of=()
  for name in http_files echo_coroutine socks5; do
    [ "$result" = ok ] || break
    start "$engine" "$log.$name" "${run[@]}" "$2/$name$3" 0 "$site"
    [ -z "$port" ] || started+=("$pid") port_of[$name]=$port
  done
  if [ "$result" = ok ]; then
    local proxy=127.0.0.1:$port
    fetch_site "http://localhost:${port_of[http_files]}" --socks5-hostname "$proxy" >"$log.by_name" 2>&1 || fail "other bytes by name"
    fetch_site "http://127.0.0.1:${port_of[http_files]}" --socks5 "$proxy" >"$log.by_ipv4" 2>&1 || fail "other bytes by IPv4"
    [ -z "$site_on_ipv6" ] || fetch_site "$site_on_ipv6" --socks5 "$proxy" >"$log.by_ipv6" 2>&1 || fail "other bytes by IPv6"
    foreign=$(timeout "$patience" python3 examples/foreign_client.py "${port_of[echo_coroutine]}" 16 "$port" 2>"$log.foreign") ||
      fail "foreign_client failed"
    told=$(curl -sS --max-time "$patience" --socks5 "$proxy" http://127.0.0.1:1/ 2>&1)
    [[ $? = 97 && $told = *"(5)" ]] || fail "a closed port: $told"
    told=$(curl -sS --max-time "$patience" --socks5-hostname "$proxy" http://no-such-host.invalid/ 2>&1)
    [[ $? = 97 && $told = *"(4)" ]] || fail "no such host: $told"
    [ "$(ask "$port" '\5\1\2' | od -An -tx1)" = " 05 ff" ] || fail "authentication is not refused"
    [[ "$(ask "$port" '\5\1\0\5\2\0\1\177\0\0\1\0\1' | od -An -tx1)" = " 05 00 05 07 "* ]] || fail "BIND is not refused"
    [[ "$(ask "$port" '\5\1\0\5\1\0\2' | od -An -tx1)" = " 05 00 05 08 "* ]] || fail "a type of address is not refused"
    stop "$pid" INT 0
    unset 'started[-1]'
  fi
  for pid in "${started[@]}"; do stop "$pid" TERM; done
  conclude "$engine" socks5 "curl, ${foreign%% bytes*}" "$result"
}

# The chat: guests receive each line, even if another guest is slow.
chat_cell() { # engine command...
  local engine=$1 log=$out/log/$1.chat pid port result told=''
  shift
  start "$engine" "$log" "$@" 0
  if [ -n "$port" ]; then
    told=$(timeout "$patience" python3 examples/chat_client.py "$port" 2>"$log.client") || fail "chat_client failed"
    stop "$pid" INT 0
  fi
  conclude "$engine" chat "$told" "$result"
}

# The scanner: of a hundred free ports outside the system's ephemeral range, the first and the last get a server; it must find these
# two only.
scanner_cell() { # engine folder suffix [wine]
  local engine=$1 log=$out/log/$1.port_scanner run=("${@:4}") pid port result=ok first name told started=()
  first=$(python3 - <<'END'
import random, socket

def free(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) != 0

firsts = random.sample(range(20000, 32000, 100), 120)
print(next(first for first in firsts if all(free(first + n) for n in range(100))))
END
  )
  for name in http_files chat; do
    [ "$result" = ok ] || break
    start "$engine" "$log.$name" "${run[@]}" "$2/$name$3" $((first + 99 * ${#started[@]}))
    [ -z "$port" ] || started+=("$pid")
  done
  if [ "$result" = ok ]; then
    told=$(ROUSE_ENGINE=$engine timeout "$patience" "${run[@]}" "$2/port_scanner$3" 127.0.0.1 "$first" $((first + 99)) \
      2>"$log.client" </dev/null | tr -d '\r')
    [ "$told" = "$first"$'\n'$((first + 99)) ] || fail "found ${told//$'\n'/ }"
    grep -qi "engine: $engine" "$log.client" || fail "other engine"
  fi
  for pid in "${started[@]}"; do stop "$pid" TERM; done
  conclude "$engine" port_scanner "2 of 100 ports" "$result"
}

# A library that does not know rouse, against its real server: its calls are faster together than one after the other.
hiredis_cell() { # engine
  local log=$out/log/$1.install_hiredis result=ok told
  told=$(ROUSE_ENGINE=$1 timeout "$patience" "$out/linux/install_hiredis" "$redis_port" 2>"$log.client") || fail "install_hiredis failed"
  [ -z "$(refused "$log.client")" ] || result=$(refused "$log.client")
  echo "$told"
  conclude "$1" install_hiredis redis-server "$result"
}

for engine in io_uring epoll; do
  for server in "${servers[@]}" "${linux_servers[@]}"; do cell $engine "$server" 64 500 32 "$out/linux/$server"; done
done
for engine in io_uring epoll; do time_cell $engine "$out/linux/time_udp"; done
for engine in io_uring epoll; do tasklet_cell $engine "$out/linux/tasklet_echo"; done
tasklet_cell iocp wine "$out/windows/tasklet_echo.exe"
site_begin
for engine in io_uring epoll; do http_cell $engine "$out/linux/http_files"; done
http_cell iocp wine "$out/windows/http_files.exe"
for engine in io_uring epoll; do
  https_cell $engine
  https_get_cell $engine
  echo_tls_cell $engine
done
for engine in io_uring epoll; do socks_cell $engine "$out/linux" ""; done
socks_cell iocp "$out/windows" .exe wine
site_end
for engine in io_uring epoll; do chat_cell $engine "$out/linux/chat"; done
chat_cell iocp wine "$out/windows/chat.exe"
for engine in io_uring epoll; do scanner_cell $engine "$out/linux" ""; done
scanner_cell iocp "$out/windows" .exe wine
time_cell iocp wine "$out/windows/time_udp.exe"
redis_begin
for engine in io_uring epoll; do
  redis_cell $engine "" "$out/linux/resp_client"
  redis_cell $engine "$certificates/root.pem" "$out/linux/resp_client"
  hiredis_cell $engine
done
redis_cell iocp "" wine "$out/windows/resp_client.exe"
redis_end
for server in "${servers[@]}"; do cell iocp "$server" 16 50 8 wine "$out/windows/$server.exe"; done

echo
row engine server connections requests/s "p50 us" "p99 us" foreign result
printf '%s\n' "${table[@]}"
[ $skipped = 0 ] || echo "$skipped cells SKIPPED: the machine refuses the engine (--strict makes that a failure)"
[ "$strict" != --strict ] || failures=$((failures + skipped))
[ $failures = 0 ] || echo "$failures cells failed; logs in build/examples/log"
exit $failures
