#!/usr/bin/env bash
# Installs what is missing, builds the tests in every configuration, runs them on every engine of the platform, and ends with a
# table of what ran where. `tests/run.sh NAME...` runs only those configurations: checks gcc asan tsan fuzz single windows aarch64;
# and coverage, which is not run by itself: how much of include/ the suite goes through on Linux.
set -u
cd "$(dirname "$0")/.."
root=$PWD
out=$root/build/tests
mkdir -p "$out"
wanted=${*:-checks gcc asan tsan fuzz single windows aarch64}
warnings="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wundef -Werror"

need=""
have() { command -v "$1" > /dev/null 2>&1; }
have g++ || need="$need g++"
have python3 || need="$need python3"
have clang++-19 || need="$need clang-19"
ls /usr/lib/llvm-19/lib/clang/19/lib/linux/libclang_rt.tsan-x86_64.a > /dev/null 2>&1 || need="$need libclang-rt-19-dev"
[ -f /usr/include/catch2/catch.hpp ] || need="$need catch2"
have x86_64-w64-mingw32-g++-posix || need="$need g++-mingw-w64-x86-64-posix"
have wine || need="$need wine wine64"
[ -f /usr/lib/llvm-19/include/c++/v1/vector ] || need="$need libc++-19-dev"
have aarch64-linux-gnu-g++ || need="$need g++-aarch64-linux-gnu"
have qemu-aarch64 || need="$need qemu-user"
have cmake || need="$need cmake"
have ninja || need="$need ninja-build"
[ -f /etc/protocols ] || need="$need netbase"
if [ -n "$need" ]; then
  echo "installing:$need"
  apt-get update > "$out/apt.log" 2>&1
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $need >> "$out/apt.log" 2>&1 || { tail -5 "$out/apt.log"; exit 1; }
fi

rows=$out/rows # a file, so that what runs in the background has its rows as well
: > "$rows"
row() { # what, engine, passed, failed, seconds, how many tests ran under each waker
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "$5" "${6:-}" >> "$rows"
  printf '%-10s %-30s passed %s, failed %s (%s s)\n' "$1" "$2" "$3" "$4" "$5"
}

# How many of the tests in a log ran under coroutines, fibers, threads, callbacks, and without a waker.
by_waker() {
  awk '/^[0-9.]+ s: / {
      if (/every_(scheduler|flowing|single) - 0$/) coroutine++
      else if (/every_(scheduler|flowing|single) - 1$/) fiber++
      else if (/every_(scheduler|flowing) - 2$/) thread++
      else if (/every_scheduler - 3$|every_single - 2$/) callback++
      else other++
    } END { printf "%9d %5d %6d %8d %5d", coroutine, fiber, thread, callback, other }'
}

# A check that either holds or not.
check() { # configuration, name, command...
  local configuration=$1 name=$2 begun=$SECONDS
  shift 2
  if "$@" > "$out/$configuration-$name.log" 2>&1; then row "$configuration" "$name" 1 0 $((SECONDS - begun))
  else
    tail -20 "$out/$configuration-$name.log"
    row "$configuration" "$name" 0 1 $((SECONDS - begun))
  fi
}

sources=$(find tests/main.cpp tests/unit tests/conformance tests/scenarios tests/stress -name '*.cpp' 2> /dev/null)

# Builds the suite: two files at a time, Catch's main and each test file an object of its own. What nearly all include is read once.
build() { # configuration, linker options, compiler...
  local configuration=$1 link=$2 dir=$out/$1
  shift 2
  mkdir -p "$dir"
  echo "building $configuration"
  echo '#include <support/testing.hpp>' > "$dir/common.hpp"
  local early=
  case $1 in
  clang*) early=-fpch-instantiate-templates ;;
  # g++ collects garbage less often, which saves a quarter of the time and costs 200 MB a file.
  *) set -- "$@" --param ggc-min-heapsize=2000000 --param ggc-min-expand=300 ;;
  esac
  "$@" $early -x c++-header "$dir/common.hpp" -o "$dir/common.hpp.gch" || return 1
  printf '%s\n' $sources | COMPILER="$*" DIR="$dir" xargs -P2 -I{} sh -c '
    o="$DIR/$(echo {} | tr / _).o"
    [ {} = tests/main.cpp ] || common="-include $DIR/common.hpp"
    $COMPILER $common -c {} -o "$o" > "$o.log" 2>&1 || { head -30 "$o.log"; exit 1; }' || return 1
  $1 $link "$dir"/*.o -o "$dir/suite" ${LIBRARIES:-} 2>&1 | head -20
  [ -x "$dir/suite" ] || [ -f "$dir/suite.exe" ]
}

# Runs the suite; what it says is read by `counted`.
run_suite() { # configuration, engine, command...
  local begun=$SECONDS log
  log="$out/$1-$(echo "$2" | tr ' ' -).log"
  timeout 600 "${@:3}" -d yes > "$log" 2>&1
  echo "$? $((SECONDS - begun))" > "$log.end"
}

# Reads Catch's count.
counted() { # configuration, engine
  local log code seconds good bad
  log="$out/$1-$(echo "$2" | tr ' ' -).log"
  read -r code seconds < "$log.end"
  good=$(tr -d '\r' < "$log" | sed -n 's/^All tests passed (.* in \([0-9]*\) test cases*)$/\1/p; s/^test cases: .*|  *\([0-9]*\) passed.*/\1/p' | tail -1)
  bad=$(tr -d '\r' < "$log" | sed -n 's/^test cases: .*|  *\([0-9]*\) failed.*/\1/p' | tail -1)
  good=${good:-0} bad=${bad:-0}
  if [ "$code" -ne 0 ] && [ "$bad" -eq 0 ] || [ "$good" -eq 0 ]; then bad=$((bad + 1)); fi
  [ "$bad" -ne 0 ] && { grep -A12 'FAILED:\|ERROR\|WARNING: Thread' "$log" | head -60; echo "exit code $code"; }
  row "$1" "$2" "$good" "$bad" "$seconds" "$(tr -d '\r' < "$log" | by_waker)"
}

suite() { # configuration, engine, command...
  run_suite "$@"
  counted "$1" "$2"
}

# install() has programs of its own, with the suite's main: one source file each, for one of a program may include install.hpp.
installed() { # configuration, compiler...
  local name program
  for name in calls differential files fork signals; do
    program=$out/$1-install-$name
    if "${@:2}" -std=c++20 -pthread $warnings -Iinclude -Itests "tests/install/$name.cpp" "$out/$1/tests_main.cpp.o" -o "$program"; then
      suite "$1" "install $name, io_uring" env ROUSE_ENGINE=io_uring ROUSE_PROMISED_ENGINE=io_uring "$program"
      suite "$1" "install $name, epoll" env ROUSE_ENGINE=epoll ROUSE_PROMISED_ENGINE=epoll "$program"
    else row "$1" "install $name does not build" 0 1 0
    fi
  done
}

# Every allocation fails once: a program of its own, which replaces operator new.
out_of_memory() { # configuration, compiler...
  local program=$out/$1-out_of_memory engine
  if "${@:2}" -std=c++20 -pthread $warnings -Iinclude tests/out_of_memory/out_of_memory.cpp -o "$program"; then
    for engine in io_uring epoll; do
      check "$1" "out of memory, $engine" env ROUSE_ENGINE=$engine timeout 300 "$program" &
    done
    wait
  else row "$1" "out of memory does not build" 0 1 0
  fi
}

on_linux() { # configuration, linker options, compiler...
  if build "$@" -std=c++20 -pthread $warnings ${INCLUDE:--Iinclude} -Itests; then
    for engine in io_uring epoll; do # all at once: most tests are one thread that waits
      run_suite "$1" $engine env ROUSE_ENGINE=$engine ROUSE_PROMISED_ENGINE=$engine "$out/$1/suite" &
    done
    [ "$1" != gcc ] || refused &
    wait
    counted "$1" io_uring
    counted "$1" epoll
    [ "$1" != gcc ] || for error in EPERM ENOSYS ENOMEM; do counted gcc "io_uring refused ($error)"; done
  else row "$1" "does not build" 0 1 0
  fi
}

# [P03] io_uring refused by a seccomp filter, with the errors that kernels and containers give: everything under EPERM, what concerns
# engines under the others.
refused() {
  gcc -O1 -o "$out/refuse_io_uring" tests/support/refuse_io_uring.c || return
  local under="env -u ROUSE_ENGINE ROUSE_PROMISED_ENGINE=epoll $out/refuse_io_uring"
  run_suite gcc "io_uring refused (EPERM)" $under 1 "$out/gcc/suite"
  run_suite gcc "io_uring refused (ENOSYS)" $under 38 "$out/gcc/suite" "[conformance]"
  run_suite gcc "io_uring refused (ENOMEM)" $under 12 "$out/gcc/suite" "[conformance]"
}

wine_up() {
  export WINEPREFIX=$out/wine WINEDEBUG=-all WINEDLLOVERRIDES="mscoree,mshtml,winedbg.exe=" WINEARCH=win64
  unset DISPLAY WAYLAND_DISPLAY
  # The services are started here, with streams of their own, so that no test's output is held open by them.
  { wineserver -p && { [ -f "$WINEPREFIX/.ready" ] || { wine wineboot -i && wine winecfg -v win10 && touch "$WINEPREFIX/.ready"; }; } &&
    wine cmd /c exit; } < /dev/null > /dev/null 2>&1
}

# Catch2's header alone: a cross compiler must not see the rest of /usr/include.
catch_alone() {
  mkdir -p "$out/catch/catch2"
  cp /usr/include/catch2/catch.hpp "$out/catch/catch2/"
}

# The stack switch of AArch64, under qemu. Optimized, since only then values live in registers across it.
aarch64() {
  catch_alone
  if sources="tests/main.cpp tests/unit/os/context.cpp tests/scenarios/flows.cpp tests/scenarios/lifetime.cpp" \
    build aarch64 "-pthread" aarch64-linux-gnu-g++ -O2 -std=c++20 -pthread $warnings -isystem "$out/catch" -Iinclude -Itests; then
    suite aarch64 "epoll (qemu)" env ROUSE_ENGINE=epoll ROUSE_PROMISED_ENGINE=epoll qemu-aarch64 -L /usr/aarch64-linux-gnu "$out/aarch64/suite"
  else row aarch64 "does not build" 0 1 0
  fi
}

# Fibers where no stack switch of our own is written.
ucontext() {
  if sources="tests/main.cpp tests/unit/os/context.cpp tests/scenarios/flows.cpp" \
    build ucontext "-pthread" g++ -O1 -DROUSE_CONTEXT_UCONTEXT=1 -std=c++20 -pthread $warnings -Iinclude -Itests; then
    suite gcc "ucontext" "$out/ucontext/suite"
  else row gcc "ucontext does not build" 0 1 0
  fi
}

# A real SIGINT to a real process that has idle connections and transfers half done.
interrupted() {
  g++ -std=c++20 -O1 -pthread $warnings -Iinclude tests/interrupted/server.cpp -o "$out/interrupted" &&
    check gcc "interrupted" python3 tests/interrupted/run.py "$out/interrupted" || row gcc "interrupted does not build" 0 1 0
}

# Several copies of the library in one process.
copies() {
  check gcc "copies in one process" tests/consumers/copies/run.sh g++ clang++-19
}

# Each fuzzer goes through its corpus, then on from there for some seconds. `FUZZ_SECONDS=600 tests/run.sh fuzz` for longer.
fuzz() {
  local name engine
  mkdir -p "$out/fuzz"
  printf '%s\n' endpoint reader script | xargs -P2 -I{} clang++-19 -std=c++20 -O1 -g1 -pthread $warnings \
    -fsanitize=fuzzer,address,undefined -fno-sanitize=vptr -fno-sanitize-recover=all -Iinclude tests/fuzz/{}.cpp -o "$out/fuzz/{}" ||
    { row fuzz "does not build" 0 1 0; return; }
  for name in reader script; do
    for engine in io_uring epoll; do fuzz_one $name $engine & done
    wait
  done
  fuzz_one endpoint epoll
}
fuzz_one() { # fuzzer, engine
  mkdir -p "$out/fuzz/found-$1-$2"
  check fuzz "$1, $2" env ROUSE_ENGINE=$2 "$out/fuzz/$1" -timeout=20 -max_len=600 -max_total_time="${FUZZ_SECONDS:-5}" \
    -artifact_prefix="$out/fuzz/" "$out/fuzz/found-$1-$2" "tests/fuzz/corpus/$1"
}

# Thousands of connections with random cancels, limits, resets and half-closes. `chaos CONNECTIONS SECONDS` by hand for more.
chaos() {
  g++ -std=c++20 -O1 -pthread $warnings -Iinclude tests/chaos/chaos.cpp -o "$out/chaos" || { row gcc "chaos does not build" 0 1 0; return; }
  check gcc "chaos, io_uring" env ROUSE_ENGINE=io_uring timeout 120 "$out/chaos" 1000 3
  check gcc "chaos, epoll" env ROUSE_ENGINE=epoll timeout 120 "$out/chaos" 1000 3
}

# The lines of include/ that the suite goes through on both Linux engines. What there is for Windows is not compiled here.
coverage() {
  have gcovr || apt-get install -y --no-install-recommends gcovr >> "$out/apt.log" 2>&1
  find "$out/coverage" -name '*.gcda' -delete 2> /dev/null
  on_linux coverage "-pthread --coverage" g++ -O0 --coverage
  check coverage "90 % of the lines" gcovr --root . --filter include/ --object-directory "$out/coverage" --exclude-unreachable-branches \
    --fail-under-line 90 --txt "$out/coverage.txt" -j 2
  tail -3 "$out/coverage.txt"
}

windows() {
  catch_alone
  wine_up
  if LIBRARIES="-lws2_32 -lmswsock" build windows "-static" x86_64-w64-mingw32-g++-posix -std=c++20 -O1 -D_WIN32_WINNT=0x0A00 \
    -Wall -Wextra -Wconversion -Wshadow -isystem "$out/catch" -Iinclude -Itests; then
    {
      check windows "consumers" tests/consumers/run.sh windows
      check windows "copies in one process" tests/consumers/copies/run.sh windows
      # Ctrl-C, typed into the console of such a process.
      x86_64-w64-mingw32-g++-posix -std=c++20 -O1 -D_WIN32_WINNT=0x0A00 -Wall -Wextra -Wconversion -Wshadow -Iinclude -static \
        tests/interrupted/server.cpp -o "$out/interrupted.exe" -lws2_32 -lmswsock &&
        check windows "interrupted" python3 tests/interrupted/run.py --wine "$out/interrupted.exe" || row windows "interrupted does not build" 0 1 0
      check windows "install" python3 tests/install/windows/run.py
    } &
    suite windows "IOCP (Wine)" env ROUSE_PROMISED_ENGINE=IOCP wine "$out/windows/suite.exe"
    wait
  else row windows "does not build" 0 1 0
  fi
  wineserver -k > /dev/null 2>&1
}

# Vendored, the header draws no warning, whatever the optimizer finds out.
no_warning() { # compiler with its options...
  local compiler
  for compiler; do
    $compiler -std=c++20 -pthread $warnings -Isingle_include tests/consumers/vendored.cpp -o "$out/vendored_${compiler%% *}" || return
  done
  timeout 60 "$out/vendored_${compiler%% *}"
}

bare_header() {
  local program=examples/echo_fiber.cpp
  check single "g++" g++ -std=c++20 -pthread $warnings -Isingle_include $program -o "$out/bare_gcc" &
  check single "clang++" clang++-19 -std=c++20 -pthread $warnings -Isingle_include $program -o "$out/bare_clang"
  wait
  check single "mingw" x86_64-w64-mingw32-g++-posix -std=c++20 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Isingle_include $program -o \
    "$out/bare_mingw.exe" -static -lws2_32 -lmswsock &
  check single "no warning, g++" no_warning "g++ -O1" "g++ -O2" "g++ -O3" &
  check single "no warning, clang++" no_warning "clang++-19 -O1" "clang++-19 -O2" "clang++-19 -O3"
  wait
  check single "no exceptions, no rtti" sh -c "echo '#include <rouse/rouse.hpp>' | g++ -std=c++20 -fno-exceptions -fno-rtti $warnings -Isingle_include -x c++ -fsyntax-only -"
  wait
}

for configuration in $wanted; do
  case $configuration in
  checks)
    check checks includes python3 tests/tools/check_includes.py
    check checks scenarios python3 tests/tools/scenarios.py --check
    check checks "single header" python3 single_include/amalgamate.py --check
    check checks "headers alone" tests/tools/check_headers_alone.sh g++ -std=c++20 $warnings
    check checks "misuse, g++" python3 tests/compile_fail/run.py g++ -std=c++20
    check checks "misuse, clang++" python3 tests/compile_fail/run.py clang++-19 -std=c++20
    check checks "MSVC ABI" tests/tools/check_msvc_abi.sh
    check checks "consumers" tests/consumers/run.sh linux
    check checks "CMake presets" sh -c 'for p in dev clang asan tsan single windows; do cmake --preset $p || exit 1; done'
    ;;
  gcc)
    # Optimized, as it is used. g++ 12 then warns of what it sees in std::optional.
    on_linux gcc "-pthread" g++ -O1 -Wno-maybe-uninitialized
    ucontext
    {
      interrupted
      copies
      chaos
      out_of_memory gcc g++ -O1 -Wno-maybe-uninitialized
    } &
    check gcc install tests/install/run.py
    wait
    ;;
  # Not optimized: these take the longest to compile. Without vptr: its check needs a descriptor, and a test has none left.
  asan)
    sanitized="clang++-19 -O0 -g1 -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=all"
    on_linux asan "-pthread -fsanitize=address,undefined" $sanitized
    installed asan $sanitized
    out_of_memory asan $sanitized
    ;;
  # From the single header, so that it goes through the suite as well.
  tsan)
    sanitized="clang++-19 -O0 -g1 -fsanitize=thread"
    INCLUDE=-Isingle_include on_linux tsan "-pthread -fsanitize=thread" $sanitized
    installed tsan $sanitized
    ;;
  fuzz) fuzz ;;
  single) bare_header ;;
  windows) windows ;;
  coverage) coverage ;;
  aarch64) aarch64 ;;
  *) echo "no configuration is called $configuration" >&2; exit 2 ;;
  esac
done

printf '\n%-10s %-30s %7s %7s %7s  %9s %5s %6s %8s %5s\n' configuration "engine or check" passed failed time \
  coroutine fiber thread callback other
awk -F '\t' '{ printf "%-10s %-30s %7s %7s %6ss  %s\n", $1, $2, $3, $4, $5, $6; passed += $3; failed += $4 }
  END { print passed + 0 " passed, " failed + 0 " failed"; exit failed != 0 || NR == 0 }' "$rows"
