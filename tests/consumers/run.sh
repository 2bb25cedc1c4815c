#!/usr/bin/env bash
# [P06] Uses rouse as its users do: the bare header, a folder in a CMake project, an installed package. Each program is run.
# `run.sh linux` or `run.sh windows` (with Wine; the caller sets its environment).
set -u
cd "$(dirname "$0")"
platform=${1:-linux}
root=$(cd ../.. && pwd)
out=$root/build/tests/consumers/$platform
warnings="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wundef -Werror"
mkdir -p "$out"

attempt() { # name, command...
  local name=$1 log=$out/log.$BASHPID
  shift
  if "$@" > "$log" 2>&1; then echo "ok   $name"
  else
    echo "FAIL $name"
    tail -20 "$log"
  fi
}

compiled() { # name, compiler line; compiles, then runs
  local name=$1 program
  program=$out/$(echo "$1" | tr -c 'a-z0-9+\n' _).exe
  shift
  attempt "$name" sh -c "$* -o '$program' ${LIBRARIES:-} && ${EMULATOR:-} '$program'"
}

with() { # compiler line, what it is called
  local compiler="$1 $warnings -I$root/single_include" called=$2
  compiled "$called: the bare header" "$compiler" round_trip.cpp
  compiled "$called: without exceptions and rtti" "$compiler" -fno-exceptions -fno-rtti no_exceptions.cpp
  compiled "$called: two translation units" "$compiler" odr/first.cpp odr/second.cpp
}

in_cmake() { # name, source folder, more options; configures, builds, runs
  local name=$1 source=$2 build=$out/$2
  shift 2
  rm -rf "$build"
  attempt "$name" sh -c "cmake -G Ninja -S $source -B '$build' $* && cmake --build '$build' && ${EMULATOR:-} '$build/round_trip${SUFFIX:-}'"
}

# Runs two at a time.
if [ "$platform" = linux ]; then
  {
    with "g++ -std=c++20 -pthread" "g++, C++20"
    with "clang++-19 -std=c++20 -pthread" "clang++, C++20"
    in_cmake "CMake: add_subdirectory" subdirectory
  } > "$out/first" &
  {
    with "g++ -std=c++23 -pthread" "g++, C++23"
    with "clang++-19 -std=c++23 -pthread" "clang++, C++23"
    attempt "CMake: install" sh -c "rm -rf '$out/build' '$out/prefix' && cmake -G Ninja -S '$root' -B '$out/build' -DROUSE_EXAMPLES=OFF -DROUSE_TESTS=OFF && cmake --install '$out/build' --prefix '$out/prefix'"
    in_cmake "CMake: find_package" installed "-DCMAKE_PREFIX_PATH='$out/prefix'"
  } > "$out/second"
else
  export EMULATOR=wine
  static="-static -lws2_32 -lmswsock"
  {
    LIBRARIES=$static with "x86_64-w64-mingw32-g++-posix -std=c++20" "mingw-w64, C++20"
    SUFFIX=.exe in_cmake "CMake, mingw-w64: add_subdirectory" subdirectory "-DCMAKE_TOOLCHAIN_FILE='$root/tests/support/mingw-w64.cmake'"
  } > "$out/first" &
  LIBRARIES=$static with "x86_64-w64-mingw32-g++-posix -std=c++23" "mingw-w64, C++23" > "$out/second"
fi
wait
cat "$out/first" "$out/second"
failed=$(cat "$out/first" "$out/second" | grep -c '^FAIL ')
echo "$(cat "$out/first" "$out/second" | grep -c '^ok ') passed, $failed failed"
[ "$failed" -eq 0 ]
