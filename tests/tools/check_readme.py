#!/usr/bin/env python3
"""Compiles the code of README.md: check_readme.py COMPILER [OPTION...]

Each block of C++ becomes a function, a coroutine if it awaits. CONTEXT declares, under the heading of the block, what the block uses.
"…" stands for code that the reader supplies.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PRELUDE = """#include <rouse/rouse.hpp>
#include <rouse/install.hpp>
#include <rouse/tls.hpp>
#include <array>
#include <csignal>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>
using namespace std::chrono_literals;
"""
# For each block: the declarations before it, and the parameters of its function. If there is a third entry, the block is outside of
# functions up to the line that begins with it; "" means the whole block.
CONTEXT = {
    "rouse": ("", "", ""),
    "Streams": ("", "rouse::socket<S> conn"),
    "Datagrams": ("", "S& sched, std::array<char, 9> buf"),
    "Several buffers in one call":
        ("", "rouse::socket<S> conn, rouse::socket<S> s, std::string head, std::string body, rouse::endpoint from"),
    "Unix-domain sockets": ("", "S& sched, std::array<char, 9> buf, int fd"),
    "Names": ("", "S& sched"),
    "Channels and locks": ("", "S& sched"),
    "Channels and locks, 2":
        ("", "S& sched, rouse::channel<int, S> numbers, rouse::socket<S> conn, rouse::flow_event<S>& event"),
    "Groups": ("", "S& sched"),
    "Variables of a flow":
        ("struct request_id {}; inline void write(const request_id&, std::string_view) {}", "", ""),
    "TLS": ("", "S& sched, std::string request"),
    "TLS, 2": ("", "rouse::coroutines& sched, rouse::socket<rouse::coroutines> listener"),
    "Signals": ("", "S& sched"),
    "One protocol for all schedulers": ("", "S& sched, rouse::socket<S> conn", "sched.spawn"),
    "Serving": ("", "S& sched, rouse::socket<S> listener, void (*on_error)(std::exception_ptr, const rouse::endpoint&)"),
    "Several cores": ("", ""),
    "When a program hangs": ("", "std::FILE* file"),
    "Bring your own wake-up": ("", "", ""),
    "Libraries that block": ("void fetch(int);", "", "rouse::fibers"),
}


def blocks(text):
    """(heading, number of the first line, lines) of each block of C++; the second under a heading is called "HEADING, 2"."""
    heading, seen, code = "", {}, None
    for number, line in enumerate(text.splitlines(), 1):
        if code is not None and line == "```":
            seen[heading] = seen.get(heading, 0) + 1
            yield heading + (f", {seen[heading]}" if seen[heading] > 1 else ""), number - len(code), code
            code = None
        elif code is not None:
            code.append(line)
        elif line == "```cpp":
            code = []
        elif title := re.match(r"#+ (.+)", line):
            heading = title[1]


def completed(line):
    for pattern, code in ((r" = …;", ";"), (r"\{ … \}", "{ co_return; }"), (r"\) …", ") {}"), (r"^\.\.\.$", "")):
        line = re.sub(pattern, code, line)
    return line


def source(text):
    out = [PRELUDE]
    for count, (heading, start, code) in enumerate(blocks(text)):
        if heading not in CONTEXT:
            sys.exit(f'README.md:{start}: CONTEXT in {pathlib.Path(__file__).name} lacks the code under "{heading}"')
        before, parameters, *first = CONTEXT[heading]
        outside = next((i for i, line in enumerate(code) if first[0] and line.startswith(first[0])), len(code)) if first else 0
        code = [completed(line) for line in code]
        out += [before, f'#line {start} "README.md"', *code[:outside]]
        if inside := code[outside:]:
            awaits = any("co_await" in line for line in inside)
            parameters = re.sub(r"\bS\b", "rouse::coroutines" if awaits else "rouse::fibers", parameters)
            out += [f"{'rouse::task<>' if awaits else 'void'} block_{count}({parameters}) {{", f'#line {start + outside} "README.md"',
                    *inside, "}"]
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    program = source((ROOT / "README.md").read_text(encoding="utf-8"))
    command = [*sys.argv[1:], "-w", f"-I{ROOT}/include", "-fsyntax-only", "-x", "c++", "-"]
    sys.exit(subprocess.run(command, input=program, text=True).returncode)
