#!/bin/sh
# Each header compiles alone, and twice: check_headers_alone.sh COMPILER [OPTION...]
#
#   tests/tools/check_headers_alone.sh g++ -std=c++20 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wundef -Werror
#
# For compilers that take g++'s options. ROUSE_INCLUDE (default: include/) is the folder of the headers.
set -u
[ $# -gt 0 ] || { echo "usage: $0 COMPILER [OPTION...]" >&2; exit 2; }
ROUSE_INCLUDE=${ROUSE_INCLUDE:-$(dirname "$0")/../../include}
export ROUSE_INCLUDE
headers=$(cd "$ROUSE_INCLUDE" && find . -name '*.hpp' | sed 's|^\./||' | LC_ALL=C sort)
[ -n "$headers" ] || { echo "check_headers_alone: no headers in $ROUSE_INCLUDE"; exit 1; }

# A shell for each header, two at a time; each prints its result once, at the end.
failures=$(printf '%s\n' "$headers" | xargs -P2 -I'{header}' sh -c '
  header=$1
  shift
  said=$(printf "#include <%s>\n" "$header" "$header" | "$@" -I"$ROUSE_INCLUDE" -fsyntax-only -x c++ - 2>&1) ||
    printf "FAILS ALONE: %s\n%s\n" "$header" "$said"' sh '{header}' "$@")
status=$?
count=$(printf '%s\n' "$failures" | grep -c '^FAILS ALONE: ')
[ -z "$failures" ] || printf '%s\n' "$failures"
echo "check_headers_alone: $(printf '%s\n' "$headers" | wc -l | tr -d ' ') headers, $count failures"
[ "$status" -eq 0 ] && [ "$count" -eq 0 ]
