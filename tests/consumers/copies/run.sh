#!/usr/bin/env bash
# Several copies of rouse in one process: shared libraries that are loaded and unloaded in every order. `run.sh COMPILER...`
set -eu
cd "$(dirname "$0")/../../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
flags="-std=c++20 -O1 -pthread -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wundef -Werror"
for compiler in "${@:-g++}"; do
  $compiler $flags tests/consumers/copies/host.cpp -o "$out/host" -ldl
  for visibility in -fvisibility=hidden -fvisibility-inlines-hidden -fvisibility=default; do
    $compiler $flags $visibility -fPIC -shared -Iinclude tests/consumers/copies/copy.cpp -o "$out/a.so"
    cp "$out/a.so" "$out/b.so"
    cp "$out/a.so" "$out/c.so"
    unset COPIES_UNLOAD # unique symbols, which g++ makes of inline variables that are not hidden, keep a library in memory
    [ $visibility != -fvisibility=hidden ] || export COPIES_UNLOAD=1
    for engine in io_uring epoll; do
      echo "$compiler $visibility $engine"
      ROUSE_ENGINE=$engine timeout 120 "$out/host" "$out/a.so" "$out/b.so" "$out/c.so"
    done
  done
done
