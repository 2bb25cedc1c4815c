#!/usr/bin/env bash
# Several copies of rouse in one process: shared libraries that are loaded and unloaded in every order. `run.sh COMPILER...`,
# or `run.sh windows` (with Wine; the caller sets its environment).
set -eu
cd "$(dirname "$0")/../../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
if [ "${1:-}" = windows ]; then
  # With the compiler's own DLLs: a static winpthreads leaves an exception handler behind when its DLL is unloaded.
  compiler="x86_64-w64-mingw32-g++-posix -std=c++20 -O1 -D_WIN32_WINNT=0x0A00 -Wall -Wextra -Wconversion -Wshadow"
  $compiler tests/consumers/copies/host_windows.cpp -o "$out/host.exe" -Wl,--no-as-needed -lwinpthread
  $compiler -shared -Iinclude tests/consumers/copies/copy.cpp -o "$out/a.dll" -lws2_32 -lmswsock
  cp "$out/a.dll" "$out/b.dll"
  for needed in libstdc++-6.dll libgcc_s_seh-1.dll libwinpthread-1.dll; do cp "$($compiler -print-file-name=$needed)" "$out"; done
  cd "$out"
  for goes_first in first second; do
    timeout 120 wine host.exe a.dll b.dll $goes_first < /dev/null
    cat copies.txt # only a host that has come to its end writes it
    rm copies.txt
  done
  exit
fi

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
