#!/usr/bin/env bash
# tests/run.sh on a Mac: installs what is missing by Homebrew, builds the tests with its clang, and runs them on kqueue. (Apple's
# compiler has no std::stop_token.) No Mac was at hand when this was written, so it has not run yet.
set -eu
cd "$(dirname "$0")/.."
out=$PWD/build/macos
mkdir -p "$out/catch2"
for formula in llvm cmake ninja; do
  brew list "$formula" > /dev/null 2>&1 || brew install "$formula"
done
llvm=$(brew --prefix llvm)
# Homebrew's Catch2 is version 3.
[ -f "$out/catch2/catch.hpp" ] ||
  curl -fsSL https://raw.githubusercontent.com/catchorg/Catch2/v2.13.10/single_include/catch2/catch.hpp -o "$out/catch2/catch.hpp"

cmake -S . -B "$out" -G Ninja -DCMAKE_CXX_COMPILER="$llvm/bin/clang++" -DROUSE_CATCH_HEADER="$out/catch2/catch.hpp" \
  -DCMAKE_CXX_FLAGS="-O1 -fexperimental-library -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wundef" \
  -DCMAKE_EXE_LINKER_FLAGS="-L$llvm/lib/c++ -Wl,-rpath,$llvm/lib/c++"
cmake --build "$out" --target suite
cd "$out"
ctest --output-on-failure -E install
