#!/usr/bin/env bash
# Installs missing packages, builds the tests in every configuration, runs them on every engine of the platform, and ends with a table
# of the results. `tests/run.sh NAME...` runs only those configurations: checks gcc asan tsan fuzz single windows aarch64. Four
# more do not run by default: windows_tls, which builds OpenSSL for mingw-w64 (three minutes of processor time) and then runs windows with
# the tests of TLS, as windows itself does from then on; kqueue, everything compiled for macOS and the whole suite with the kqueue driver
# over an emulation, with two seeds (checks and asan have a part of both); kqueue_seeds, the suite over that emulation with a hundred
# seeds; and coverage, the share of the lines of include/ that the suite executes on Linux.
#
# CMakePresets.json says how each configuration is compiled, CMakeLists.txt what is built and run. This script does the rest.
set -u
cd "$(dirname "$0")/.."
[ "$(uname)" = Darwin ] && exec tests/run_macos.sh
root=$PWD
out=$root/build/tests
mkdir -p "$out"
wanted=${*:-checks gcc asan tsan fuzz single windows aarch64}
warnings="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wundef -Werror"
jobs=$(nproc)

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
have llvm-objdump-19 || need="$need llvm-19"
have npm || need="$need npm"
[ -f /etc/protocols ] || need="$need netbase"
[ -f /usr/include/openssl/ssl.h ] || need="$need libssl-dev"
have openssl || need="$need openssl"
have gnutls-serv || need="$need gnutls-bin"
have curl || need="$need curl"
if [ -n "$need" ]; then
  echo "installing:$need"
  apt-get update > "$out/apt.log" 2>&1
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $need >> "$out/apt.log" 2>&1 || { tail -5 "$out/apt.log"; exit 1; }
fi

rows=$(mktemp) # a file, since parts that run in the background write rows too
trap 'rm -f "$rows"' EXIT
row() { # what, engine, passed, failed, seconds, how many tests ran under each waker
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "$5" "${6:-}" >> "$rows"
  printf '%-10s %-34s passed %s, failed %s (%s s)\n' "$1" "$2" "$3" "$4" "$5"
}

# Runs a command that succeeds or fails as a whole.
check() { # configuration, name, command...
  local configuration=$1 name=$2 begun=$SECONDS
  shift 2
  if "$@" > "$out/$configuration-$name.log" 2>&1; then
    grep '^SKIPPED' "$out/$configuration-$name.log"
    row "$configuration" "$name" 1 0 $((SECONDS - begun))
  else
    tail -20 "$out/$configuration-$name.log"
    row "$configuration" "$name" 0 1 $((SECONDS - begun))
  fi
}

# Builds the preset of that name.
build() { # configuration, options of CMake...
  echo "building $1"
  { cmake --preset "$@" && cmake --build --preset "$1" -j "$jobs"; } > "$out/$1-build.log" 2>&1 && return
  grep -v '^\[' "$out/$1-build.log" | head -60
  row "$1" "does not build" 0 1 0
  return 1
}

# Runs the tests of the preset, one more at once than there are processors, because most of them wait most of the time.
run() { # configuration
  local junit=$out/$1.xml name passed failed seconds wakers
  rm -f "$junit"
  ctest --preset "$1" -j $((jobs + 1)) --output-junit "$junit" --test-output-size-passed 10000000 --test-output-size-failed 10000000 \
    > "$out/$1-run.log" 2>&1
  tests/tools/report.py "$junit" > "$out/$1-rows" || row "$1" "no report of ctest" 0 1 0
  while IFS=$'\t' read -r name passed failed seconds wakers; do
    row "$1" "$name" "$passed" "$failed" "$seconds" "$wakers"
  done < "$out/$1-rows"
}

wine_up() {
  export WINEPREFIX=$out/wine WINEDEBUG=-all WINEDLLOVERRIDES="mscoree,mshtml,winedbg.exe=" WINEARCH=win64
  unset DISPLAY WAYLAND_DISPLAY
  # Starts Wine's services here, with their own streams, so that they do not keep the output of a test open. The server needs the
  # directory. Without this, the first tests that start at the same time would all set Wine up, and get in each other's way.
  mkdir -p "$WINEPREFIX"
  { wineserver -p && { [ -f "$WINEPREFIX/.ready" ] || { wine wineboot -i && wine winecfg -v win10 && touch "$WINEPREFIX/.ready"; }; } &&
    wine cmd /c exit; } < /dev/null > /dev/null 2>&1 || { row windows "Wine does not start" 0 1 0; return 1; }
}

# Each fuzzer runs its corpus, then continues from there for some seconds. `FUZZ_SECONDS=600 tests/run.sh fuzz` runs longer.
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

# The lines of include/ that the suite executes on both Linux engines. Code for Windows is not compiled here.
coverage() {
  have gcovr || apt-get install -y --no-install-recommends gcovr >> "$out/apt.log" 2>&1
  build coverage || return
  find build/coverage -name '*.gcda' -delete
  run coverage
  check coverage "90 % of the lines" gcovr --root . --filter include/ --object-directory build/coverage --exclude-unreachable-branches \
    --fail-under-line 90 --txt "$out/coverage.txt" -j 2
  tail -3 "$out/coverage.txt"
}

# The headers of TLS compile for Windows. OpenSSL's headers of this system serve for that.
tls_headers() {
  mkdir -p "$out/openssl/openssl" && cp /usr/include/openssl/*.h /usr/include/*-linux-gnu/openssl/*.h "$out/openssl/openssl" || return
  (cd include && printf '#include <%s>\n' rouse/tls.hpp rouse/tls/*.hpp) | x86_64-w64-mingw32-g++-posix -std=c++20 -D_WIN32_WINNT=0x0A00 \
    $warnings -Iinclude -isystem "$out/openssl" -x c++ -fsyntax-only -
}

windows() {
  wine_up || return
  if [ ! -f build/openssl_for_windows/built ]; then
    echo "SKIPPED: TLS is only compiled for Windows, since there is no OpenSSL for it: tests/run.sh windows_tls"
    check windows "TLS, compiled only" tls_headers
  fi
  if build windows; then
    {
      check windows "consumers" tests/consumers/run.sh windows
      check windows "copies in one process" tests/consumers/copies/run.sh windows
      check windows "install" python3 tests/install/windows/run.py
    } &
    run windows
    wait
  fi
  wineserver -k > /dev/null 2>&1
}

# The vendored header causes no warning at any level of optimization.
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
    check checks "code in README" tests/tools/check_readme.py g++ -std=c++20
    check checks "headers alone" tests/tools/check_headers_alone.sh g++ -std=c++20 $warnings
    check checks "misuse, g++" python3 tests/compile_fail/run.py g++ -std=c++20
    check checks "misuse, clang++" python3 tests/compile_fail/run.py clang++-19 -std=c++20
    check checks "MSVC ABI" tests/tools/check_msvc_abi.sh
    check checks "compiled for macOS" tests/tools/check_macos.sh short
    check checks "consumers" tests/consumers/run.sh linux
    check checks "CMake presets" sh -c 'for p in dev clang asan tsan single windows; do cmake --preset $p || exit 1; done'
    ;;
  gcc)
    # [P03] The preset gcc also runs the tests with io_uring refused.
    build gcc && run gcc
    build ucontext && run ucontext
    check gcc "copies in one process" tests/consumers/copies/run.sh g++ clang++-19 &
    check gcc install tests/install/run.py
    wait
    ;;
  kqueue)
    # Nothing runs on a Mac. CMakePresets.json says which seeds, and which tests run under ThreadSanitizer.
    check kqueue "compiled for macOS" tests/tools/check_macos.sh
    build kqueue && run kqueue
    build kqueue_tsan && run kqueue_tsan
    ;;
  kqueue_seeds)
    # All tests with every seed takes hours. `KQUEUE_SEEDS="7 20" tests/run.sh kqueue_seeds` runs two.
    seeds=$(echo ${KQUEUE_SEEDS:-$(seq 0 99)} | tr ' ' ';')
    for preset in kqueue kqueue_tsan; do
      build $preset "-DROUSE_KQUEUE_SEEDS=$seeds" -DROUSE_TEST_FILES= && run $preset
    done
    ;;
  asan)
    build asan && run asan
    build kqueue_short && run kqueue_short
    ;;
  tsan | aarch64) build "$configuration" && run "$configuration" ;;
  fuzz) fuzz ;;
  single) bare_header ;;
  windows) windows ;;
  windows_tls)
    check windows "OpenSSL" tests/tools/openssl_for_windows.sh build/openssl_for_windows
    windows
    ;;
  coverage) coverage ;;
  *) echo "no configuration is called $configuration" >&2; exit 2 ;;
  esac
done

printf '\n%-10s %-34s %7s %7s %7s  %9s %5s %6s %8s %5s\n' configuration "program and engine, or check" passed failed time \
  coroutine fiber thread callback other
awk -F '\t' '{ printf "%-10s %-34s %7s %7s %6ss  %s\n", $1, $2, $3, $4, $5, $6; passed += $3; failed += $4 }
  END { print passed + 0 " passed, " failed + 0 " failed"; exit failed != 0 || NR == 0 }' "$rows"
