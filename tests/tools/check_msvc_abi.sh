#!/usr/bin/env bash
# Compiles the headers for Microsoft's ABI without Microsoft's compiler: with clang, libc++ and the headers of mingw-w64, but without
# their predefined names. This finds broken _MSC_VER branches, GNU extensions, assumptions about sizes, and names that are macros in
# <windows.h>. Nothing is linked, and only Microsoft's own compiler and library can prove that the code works there.
#
# CXX (clang++-19), LIBCXX (/usr/lib/llvm-19/include/c++/v1), MINGW (/usr/x86_64-w64-mingw32/include) and CATCH
# (/usr/include/catch2/catch.hpp) in the environment replace these defaults.
set -u
cd "$(dirname "$0")/../.."
dir=build/tests/msvc
mkdir -p "$dir/stub/catch2"

target=x86_64 more=
msvc() {
  "${CXX:-clang++-19}" -std=c++20 --target=$target-pc-windows-msvc -fms-compatibility-version=19.38 -fgnuc-version=12.2 \
    -D__MINGW32__=1 -D__MINGW64__=1 -D_UCRT -D_LIBCPP_NO_VCRUNTIME -D_LIBCPP_ENABLE_EXPERIMENTAL -D_WIN32_WINNT=0x0A00 $more -nostdlibinc \
    -isystem "${LIBCXX:-/usr/lib/llvm-19/include/c++/v1}" -isystem "$dir/stub" -isystem "${MINGW:-/usr/x86_64-w64-mingw32/include}" \
    -Iinclude -Itests -Wall -Wextra -Wgnu -Wmicrosoft -Wvla-extension -Wundef -Werror "$@"
}

# All system headers come first, because they need the compiler's predefined names (and stop_token is experimental in libc++ 19).
# Microsoft's compiler knows none of the poisoned names; they may only occur where the preprocessor skips them. offsetof is defined as
# in Microsoft's C library for C++, which is not a constant expression for clang.
printf '#pragma once\n#if defined(__x86_64__) || defined(__i386__)\n#include <x86intrin.h>\n#endif\n' > "$dir/stub/intrin.h"
cp "${CATCH:-/usr/include/catch2/catch.hpp}" "$dir/stub/catch2/catch.hpp" || exit 1
{
  printf '#include <%s>\n' winsock2.h ws2tcpip.h mswsock.h windows.h tlhelp32.h catch2/catch.hpp
  grep -rhoE '^#include <[a-z_]+>' include examples tests | LC_ALL=C sort -u
  printf '#undef %s\n' __GNUC__ __GNUC_MINOR__ __GNUC_PATCHLEVEL__ __GNUG__ __MINGW32__ __MINGW64__ __clang__ \
    __x86_64__ __x86_64 __amd64__ __amd64 __i386__ __i386 __aarch64__ __SIZEOF_INT128__ offsetof
  echo '#define offsetof(s, m) ((::size_t)&reinterpret_cast<char const volatile&>((((s*)0)->m)))'
  printf '#pragma GCC poison %s\n' asm __asm__ __attribute__ __extension__ __int128 __typeof__ \
    $(grep -rhoE '__builtin_[a-z_]+' include | sort -u)
} > "$dir/systems.hpp"
read_systems() { msvc -x c++-header "$dir/systems.hpp" -o "$dir/systems.pch"; }
read_systems || exit 1

failures=0
fails() { printf 'FAILS FOR MSVC: %s\n%s\n' "$1" "$2"; }
expect() { # name, command...
  local said
  said=$("${@:2}" 2>&1) && return
  fails "$1" "$said"
  failures=$((failures + 1))
}
# As <windows.h> defines them without NOMINMAX.
macros=$(printf '#define %s(a, b) (((a) %s (b)) ? (a) : (b))\n' min '<' max '>')
after_systems() { msvc -include-pch "$dir/systems.pch" -fsyntax-only "$@"; }
read_source() { printf '%s\n' "$1" | after_systems -x c++ -; }

# The preprocessor must take the branches that Microsoft's compiler takes.
expect "the names of clang and mingw are forgotten" read_source '#if !defined(_MSC_VER) || defined(__GNUC__) || defined(__clang__)
#error
#endif'
refuses() { ! read_source "$1"; }
expect "poison works" refuses '__attribute__((noinline)) int f();'
expect "offsetof is no constant" refuses 'struct s { int a, b; }; constexpr auto o = offsetof(s, b);'

headers=$(cd include && find . -name '*.hpp' ! -path './rouse/tls*' | sed 's|^\./||' | LC_ALL=C sort)
expect "the headers, after <windows.h>" read_source "$macros
$(printf '#include <%s>\n' $headers)"

# The programs, which use all headers, without those that need OpenSSL. The headers of the tests are precompiled.
echo '#include <support/testing.hpp>' > "$dir/testing.hpp"
expect "the tests' own headers" msvc -include-pch "$dir/systems.pch" -x c++-header "$dir/testing.hpp" -o "$dir/testing.pch"
expect "what the tests compile once" read_source '#define TESTING_MAIN
#include <support/compiled_once.hpp>'
program() { # prints its errors
  local said read=systems
  case $1 in tests/*) read=testing ;; esac
  said=$(msvc -include-pch "$dir/$read.pch" -fsyntax-only "$1" 2>&1) || fails "$1" "$said"
}
export dir target more
export -f msvc program fails
wrong=$(find examples tests/unit tests/conformance tests/scenarios tests/stress -name '*.cpp' ! -name 'install_*' ! -name '*_boost_*' ! -name '*_tls.cpp' ! -name 'https_*' |
  xargs -P2 -I{} bash -c 'program {}')
[ -z "$wrong" ] || printf '%s\n' "$wrong"
failures=$((failures + $(printf '%s\n' "$wrong" | grep -c '^FAILS FOR MSVC: ')))

# With templates parsed at their instantiation, as Microsoft's compiler does, and for its other processors: the headers, and
# compiled_once.hpp, which instantiates most of them.
for pass in "x86_64 -fms-compatibility -fdelayed-template-parsing -Wno-delayed-template-parsing-in-cxx20" aarch64 "i686 -D_X86_=1 -U__MINGW64__"; do
  read -r target more <<< "$pass"
  expect "the headers of the system, $pass" read_systems
  expect "the headers, $pass" read_source "$(printf '#include <%s>\n' $headers)"
  expect "what the tests compile once, $pass" read_source '#define TESTING_MAIN
#include <support/compiled_once.hpp>'
done

echo "check_msvc_abi: $(echo "$headers" | wc -l) headers, the examples, the tests: $failures failures"
[ "$failures" -eq 0 ]
