#!/usr/bin/env python3
"""Misuse must be refused with a message: compiles each file here twice, broken and mended.

    run.py g++ -std=c++20        (any compiler that takes GCC's options, from any directory)

With -DBROKEN a file must not compile, and the compiler's output must contain the sentence of the
file's first line, `// expect: ...`. Without it, the file must compile without a warning: all
files are compiled together, each in a namespace of its own. The library is a precompiled header.
"""
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
INCLUDE = HERE.parent.parent / "include"
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
FLAGS = [*WARNINGS, f"-I{INCLUDE}"]
MARK = "// expect: "


def compiled(command, file, *flags):
    """Whether it compiles, and the compiler's output as one line."""
    run = subprocess.run([*command, *FLAGS, *flags, file], capture_output=True, text=True,
                         encoding="utf-8", errors="replace", env={**os.environ, "LC_ALL": "C"})
    return run.returncode == 0, " ".join(run.stderr.split())


def precompiled(command, folder):
    """The options that use the precompiled library."""
    header = Path(folder) / "library.hpp"
    header.write_text("#include <rouse/rouse.hpp>\n", encoding="utf-8")
    fine, said = compiled(command, header, "-xc++-header", "-o", f"{header}.gch")
    if not fine:
        sys.exit(f"the library does not compile: {said[:300]}")
    return ["-fsyntax-only", "-include", header]  # both compilers use library.hpp.gch


def fault_of_broken(command, file):
    """The fault of the file; None if there is none."""
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    if not first.startswith(MARK):
        return f"its first line is not '{MARK}...'"
    sentence = first.removeprefix(MARK).strip()
    fine, said = compiled(command, file, "-DBROKEN")
    if fine:
        return "broken, it compiles"
    if sentence not in said.replace('\\"', '"'):
        return f"broken, it fails without '{sentence}': {said[:300]}"
    return None


def fault_of_mended(command, files, folder):
    """Likewise, for all files together."""
    texts = [file.read_text(encoding="utf-8") for file in files]
    headers = sorted(set(re.findall(r"^#include <[a-z_/.]+>$", "\n".join(texts), re.MULTILINE)))
    source = Path(folder) / "mended.cpp"
    source.write_text("\n".join(headers) + "\n" + "".join(
        f"namespace {file.stem} {{\n{text}\n}}\n" for file, text in zip(files, texts)), encoding="utf-8")
    fine, said = compiled(command, source)
    return None if fine else f"mended, they do not compile: {said[:600]}"


def main(command):
    if not command:
        sys.exit(__doc__)
    files = sorted(HERE.glob("*.cpp"))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        command = [*command, *precompiled(command, folder)]
        mended = pool.submit(fault_of_mended, command, files, folder)
        faults = dict(zip(files, pool.map(lambda file: fault_of_broken(command, file), files)))
        faults[HERE] = mended.result()
    for file, what in faults.items():
        if what:
            print(f"FAILED {file.name}: {what}")
    failed = sum(1 for what in faults.values() if what)
    print(f"{len(faults) - failed} passed, {failed} failed")
    return failed != 0 or not files


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
