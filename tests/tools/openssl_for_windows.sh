#!/usr/bin/env bash
# Builds OpenSSL for Windows, for the tests of TLS: openssl_for_windows.sh DIRECTORY (build/openssl_for_windows is where the preset
# `windows` looks). The source is that of Debian 12, which apt fetches and verifies; the compiler is mingw-w64's. What TLS does not need
# is left out, because compiling is what costs. Nothing happens if the directory has it already.
set -u
[ $# -eq 1 ] || { echo "openssl_for_windows.sh DIRECTORY" >&2; exit 2; }
left_out="shared tests module dso engine legacy deprecated async autoload-config makedepend ui-console
  aria bf blake2 camellia cast cmp cms comp ct dgram dsa ec2m gost idea md4 mdc2 multiblock nextprotoneg ocb ocsp
  rc2 rc4 rfc3779 rmd160 scrypt seed siphash siv sm2 sm3 sm4 srp srtp ssl3 ssl-trace tls1 tls1_1 ts whirlpool"
options="mingw64 --cross-compile-prefix=x86_64-w64-mingw32- CC=gcc-posix CFLAGS=-O1 $(printf 'no-%s ' $left_out)"
mkdir -p "$1" && cd "$1" || exit 1
[ "$(sed 1d built 2> /dev/null)" = "$options" ] && exit 0

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
fetch() {
  echo "deb-src http://deb.debian.org/debian bookworm main" > "$work/list"
  mkdir -p "$work/lists/partial" "$work/source"
  set -- -o Dir::Etc::sourcelist="$work/list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$work/lists"
  chmod 755 "$work"
  apt-get -q "$@" update && cd "$work/source" && apt-get -q "$@" source --download-only --tar-only openssl &&
    tar xzf openssl_*.orig.tar.gz --strip-components 1
}
(fetch) > log 2>&1 ||
  { tail -5 log; echo "OpenSSL is not built for Windows, because apt cannot fetch its source from deb.debian.org"; exit 1; }
(cd "$work/source" && ./Configure $options && make -j "$(nproc)" build_libs) >> log 2>&1 ||
  { tail -20 log; echo "OpenSSL does not build for Windows: see $PWD/log"; exit 1; }
rm -rf built include lib && mkdir lib && cp -r "$work/source/include" . && cp "$work"/source/lib{ssl,crypto}.a lib || exit 1
(cd "$work/source" && . ./VERSION.dat && echo "OpenSSL $MAJOR.$MINOR.$PATCH") | cat - <(echo "$options") > built
sed -n 1p built
