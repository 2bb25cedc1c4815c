#!/bin/sh
# Compile time, preprocessed size and stripped binary size of a translation unit.
cd "$(dirname "$0")/compile" || exit 1
CXX=${CXX:-g++}
INC=-I../../../include
T=$(mktemp -d)
printf '| unit | preprocessed lines | -O0 wall s (user) | peak MiB | -O2 wall s (user) | stripped -O2 KiB |\n|---|---|---|---|---|---|\n'
one() {  # source, libraries
  lines=$($CXX -std=c++20 $INC -E -P "$1.cpp" | wc -l)
  for o in 0 2; do
    : > "$T/t$o"
    for k in 1 2 3 4 5; do /usr/bin/time -f '%e %U %M' -a -o "$T/t$o" $CXX -std=c++20 $INC -O$o -c "$1.cpp" -o "$T/o.o" || return; done
  done
  $CXX "$T/o.o" -o "$T/x" $2 && strip "$T/x" && size=$(stat -c %s "$T/x")
  med() { sort -n -k1 "$1" | sed -n 3p; }
  a=$(med "$T/t0"); b=$(med "$T/t2")
  [ -z "${BENCH_OUT:-}" ] || echo "$1 $lines $a $b $size" |
    awk '{printf "{\"what\": \"compile\", \"unit\": \"%s\", \"lines\": %d, \"o0_s\": %s, \"o2_s\": %s, \"kib\": %.1f}\n",$1,$2,$3,$6,$9/1024}' >> "$BENCH_OUT"
  echo "$1 $lines $a $b $size" | awk '{printf "| %s | %d | %.2f (%.2f) | %.0f | %.2f (%.2f) | %.0f |\n",$1,$2,$3,$4,$5/1024,$6,$7,$9/1024}'
}
one empty ""
one inc_std ""
one inc_std_full "-pthread"
one inc_uring ""
one inc_uv ""
one inc_rouse "-pthread"
one inc_asio "-pthread"
one echo_epoll ""
one echo_uv "-luv"
one echo_rouse_callback "-pthread"
one echo_rouse_epoll "-pthread"
one echo_rouse_coroutine "-pthread"
one echo_asio_cb "-pthread"
one echo_asio_co "-pthread"
rm -rf "$T"
