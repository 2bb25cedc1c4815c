#!/usr/bin/env python3
"""Checks the rules for headers: check_includes.py [--root DIR] [--self-test]

Prints one line for each finding, file:line: what; exits 1 if any of them is an error. --self-test
breaks every rule once, in a temporary tree, and exits 1 if a finding is missing.
"""
import argparse
import pathlib
import re
import sys
import tempfile

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "single_include"))
from amalgamate import TOKEN, code_of, directives  # noqa: E402

LONGEST_LINE = 100
LONGEST_HEADER = 450

# What each layer may include, besides itself.
SEES = {"config": set(), "fwd": {"config"}, "detail": {"config", "fwd"}}
SEES["core"] = SEES["detail"] | {"detail"}
SEES["concepts"] = SEES["core"] | {"core"}
SEES["os"] = SEES["concepts"] | {"concepts"}
SEES["engines"] = SEES["wakers"] = SEES["sockets"] = SEES["os"] | {"os"}
SEES["schedulers"] = SEES["engines"] | {"engines", "wakers"}
SEES["flows"] = SEES["schedulers"] | {"schedulers", "sockets"}
SEES["serving"] = SEES["flows"] | {"flows"}
SEES["rouse"] = set(SEES)
SEES["install"] = SEES["iostream"] = SEES["tls"] = set(SEES)

# The folders that may include system headers, read errno and depend on the platform.
SYSTEM = {"os", "install"}

# The one header that reads std::chrono::steady_clock.
CLOCK = "rouse/core/clock.hpp"

# Words for persons, which comments must not use for threads, calls and flows.
PERSON = re.compile(r"\b(who|whom|whoever|whose|he|him)\b", re.IGNORECASE)

# The headers of os/ that include only config.hpp of the library, so that core may include them.
LEAVES = {"rouse/os/interface_index.hpp"}

OS_HEADER = re.compile(
    r"<((sys|net|netinet|arpa|linux|asm|sanitizer)/.*"
    r"|(unistd|fcntl|poll|errno|netdb|ucontext|pthread|signal|sched|dlfcn|liburing)\.h|cerrno|csignal"
    r"|(winsock2?|ws2tcpip|mswsock|windows|winternl|afunix)\.h)>",
    re.IGNORECASE,
)
PLATFORM_FOLDER = re.compile(r"rouse/(os|install)/(posix|linux|darwin|windows)/")
PLATFORM = re.compile(r"\b(ROUSE_WINDOWS|ROUSE_LINUX|ROUSE_DARWIN|ROUSE_KQUEUE|_WIN32|_WIN64|__linux__|__linux|__unix__|__APPLE__)\b")

RULES = {
    "rooted": "{} is not rooted: write <rouse/...>",
    "missing": "{} does not exist",
    "layer": "{0} may not include {1}: it is not below it",
    "no layer": "{} is in no known folder",
    "platform folder": "{} is for os/, install/ and engines/ only",
    "lost": "{} inside an #if: the single header would lose it",
    "os header": "{} outside os/",
    "errno": "errno outside os/",
    "platform": "{} in an #{} outside os/, and not one guard around a whole engine",
    "clock": "steady_clock::now outside core/clock.hpp: rouse::clock is the only clock that the library reads",
    "person": "'{}' in a comment: name the thread, the call or the flow",
    "once": "no #pragma once",
    "long line": "{} columns, more than " + str(LONGEST_LINE),
    "long header": "{} lines, more than " + str(LONGEST_HEADER),
    "tab": "a tab",
    "cr": "a carriage return",
    "trailing": "trailing spaces",
    "ascii": "not ASCII: without an option, Microsoft's compiler reads another code page",
}


def layer_of(name):
    """rouse/core/limit.hpp is in core, rouse/fwd.hpp in fwd."""
    folder, _, rest = name.partition("/")
    return rest.split("/")[0].removesuffix(".hpp") if folder == "rouse" else name


class Header:
    def __init__(self, include, path):
        self.include = include
        self.name = path.relative_to(include).as_posix()
        self.layer = layer_of(self.name)
        self.raw = path.read_bytes()
        self.text = self.raw.decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
        self.code = code_of(self.text)
        self.directives = list(directives(self.code))
        self.findings = []  # (line, rule, sentence)

    def find(self, line, rule, *what):
        self.findings.append((line, rule, RULES[rule].format(*what)))

    def check(self):
        if self.layer not in SEES:
            self.find(1, "no layer", self.name)
        if not any((keyword, rest) == ("pragma", "once") for _, keyword, rest, _ in self.directives):
            self.find(1, "once")
        for line, keyword, rest, depth in self.directives:
            if keyword == "include":
                self.check_include(line, rest, depth)
        if self.layer not in SYSTEM:
            self.check_conditionals()
            self.check_errno()
        self.check_clock()
        self.check_comments()
        self.check_typography()
        self.findings.sort(key=lambda finding: finding[0])
        return self.findings

    def check_include(self, line, target, depth):
        name = target[1:-1]
        if self.layer not in SYSTEM and OS_HEADER.fullmatch(target):
            self.find(line, "os header", target)
        if not target.startswith("<") or (self.include / "rouse" / name).is_file():
            self.find(line, "rooted", self.text.split("\n")[line - 1].strip())
        elif name.startswith("rouse/"):
            self.check_part(line, name, depth)

    def check_part(self, line, name, depth):
        layer = layer_of(name)
        if depth:
            self.find(line, "lost", f"<{name}>")
        if ".." in name or not (self.include / name).is_file():
            self.find(line, "missing", f"<{name}>")
        elif self.name in LEAVES and layer != "config":
            self.find(line, "layer", self.name, name)
        elif name in LEAVES and self.layer == "core":
            pass
        elif layer != self.layer and layer in SEES and layer not in SEES.get(self.layer, SEES):
            self.find(line, "layer", self.layer, name)
        elif PLATFORM_FOLDER.match(name) and self.layer not in SYSTEM | {"engines"}:
            self.find(line, "platform folder", f"<{name}>")

    def check_conditionals(self):
        guard = self.guard() if self.layer == "engines" else ()
        for line, keyword, rest, _ in self.directives:
            platform = PLATFORM.search(rest) if keyword.startswith(("if", "elif")) else None
            if platform and line not in guard and self.layer != "config":
                self.find(line, "platform", platform[0], keyword)

    def guard(self):
        """The lines of an #if, its #elif, #else and #endif around the whole header, if there is one."""
        lines = self.code.split("\n")
        at_top = [(n, keyword) for n, keyword, _, depth in self.directives
                  if depth == 0 and keyword.startswith(("if", "el", "endif"))]
        if [n for n, (_, keyword) in enumerate(at_top, 1) if keyword == "endif"] != [len(at_top)]:
            return ()
        first, last = at_top[0][0], at_top[-1][0]
        before = [line for line in lines[: first - 1] if line.strip() and not line.lstrip().startswith("#")]
        after = [line for line in lines[last:] if line.strip()]
        return () if before or after else [n for n, _ in at_top]

    def check_errno(self):
        including = {line for line, keyword, _, _ in self.directives if keyword == "include"}
        for line, code in enumerate(self.code.split("\n"), 1):
            if line not in including and re.search(r"\berrno\b", code):
                self.find(line, "errno")

    def check_clock(self):
        for line, code in enumerate(self.code.split("\n"), 1):
            if self.name != CLOCK and re.search(r"\bsteady_clock\s*::\s*now\b", code):
                self.find(line, "clock")

    def check_comments(self):
        for comment in (token for token in TOKEN.finditer(self.text) if token["comment"]):
            for person in PERSON.finditer(comment[0]):
                line = self.text.count("\n", 0, comment.start() + person.start()) + 1
                self.find(line, "person", person[0])

    def check_typography(self):
        lines = self.text.removesuffix("\n").split("\n")
        for number, line in enumerate(lines, 1):
            if len(line) > LONGEST_LINE:
                self.find(number, "long line", len(line))
            if "\t" in line:
                self.find(number, "tab")
            if not line.isascii():
                self.find(number, "ascii")
            if line != line.rstrip():
                self.find(number, "trailing")
        if b"\r" in self.raw:
            self.find(self.raw[: self.raw.index(b"\r")].count(b"\n") + 1, "cr")
        if len(lines) > LONGEST_HEADER:
            self.find(LONGEST_HEADER + 1, "long header", len(lines))


def check(root):
    """Returns the number of headers, and (header, line, rule, sentence) for each finding."""
    include = root / "include"
    headers = [Header(include, path) for path in sorted(include.rglob("*.hpp"))]
    return len(headers), [(header.name, *finding) for header in headers for finding in header.check()]


# ---- the self-test

ONCE = "#pragma once\n"
GOOD = {
    "config.hpp": ONCE + "#if defined(_WIN32)\n#define ROUSE_WINDOWS 1\n#endif\n",
    "fwd.hpp": ONCE + "#include <rouse/config.hpp>\n",
    "detail/list.hpp": "// errno, <errno.h>\n" + ONCE + "#include <rouse/fwd.hpp>\nint a = 1'000; // it's errno\n",
    "core/clock.hpp": ONCE + "auto now = std::chrono::steady_clock::now();\n",
    "core/limit.hpp": ONCE + "#include <rouse/detail/list.hpp>\n" + '/*\n#include "x"\n*/ auto s = "errno //";\n',
    "core/error.hpp": ONCE + "#include <rouse/core/limit.hpp>\n#if ROUSE_EXCEPTIONS\n#include <new>\n#endif\n",
    "concepts/engine.hpp": ONCE + "#include <rouse/core/limit.hpp>\n",
    "os/linux/poll.hpp": ONCE + "#if ROUSE_LINUX\n#include <errno.h>\nint e = errno;\n#endif\n",
    "os/windows/poll.hpp": ONCE + "#if ROUSE_WINDOWS\n#include <winsock2.h>\n#endif\n",
    "os/poll.hpp": ONCE + "#include <rouse/os/linux/poll.hpp>\n#include <rouse/os/windows/poll.hpp>\n",
    "engines/epoll.hpp": ONCE + "#include <rouse/os/linux/poll.hpp>\n\n#if ROUSE_LINUX\n#if X\n#endif\n#endif // x\n",
    "engines/native.hpp": ONCE + "#include <rouse/engines/epoll.hpp>\n#if ROUSE_LINUX\nint a;\n#else\nint b;\n#endif\n",
    "wakers/fiber.hpp": ONCE + "#include <rouse/os/poll.hpp>\n",
    "schedulers/aliases.hpp": ONCE + "#include <rouse/engines/native.hpp>\n#include <rouse/wakers/fiber.hpp>\n",
    "sockets/socket.hpp": ONCE + "#include <rouse/os/poll.hpp>\n#include <rouse/concepts/engine.hpp>\n",
    "rouse.hpp": ONCE + "#include <rouse/sockets/socket.hpp>\n#include <rouse/schedulers/aliases.hpp>\n",
}


def including(name):
    return f"{ONCE}#include {name}\n"


# The name of a bad header, its content, and the expected findings: (line, rule).
BAD = [
    ("core/bad.hpp", including('"limit.hpp"'), [(2, "rooted")]),
    ("core/bad.hpp", including("<core/limit.hpp>"), [(2, "rooted")]),
    ("core/bad.hpp", including("HEADER"), [(2, "rooted")]),
    ("core/bad.hpp", including("<rouse/core/none.hpp>"), [(2, "missing")]),
    ("core/bad.hpp", including("<rouse/core/../fwd.hpp>"), [(2, "missing")]),
    ("misc/bad.hpp", ONCE, [(1, "no layer")]),
    ("core/bad.hpp", "#pragma once\n#if X\n#include <rouse/fwd.hpp>\n#endif\n", [(3, "lost")]),
    ("core/bad.hpp", "int a;\n", [(1, "once")]),
    ("core/bad.hpp", "// #pragma once\n", [(1, "once")]),
    ("core/bad.hpp", ONCE + "//" + "-" * 98 + "\n//" + "-" * 99 + "\n", [(3, "long line")]),
    ("core/bad.hpp", ONCE + "\n" * 449, []),
    ("core/bad.hpp", ONCE + "\n" * 450, [(451, "long header")]),
    ("core/bad.hpp", ONCE + "steady_clock::time_point t; // steady_clock::now()\n", []),
    ("core/bad.hpp", ONCE + "auto t = std::chrono::steady_clock ::now();\n", [(2, "clock")]),
    ("os/bad.hpp", ONCE + "using std::chrono::steady_clock;\nauto t = steady_clock::now();\n", [(3, "clock")]),
    ("core/bad.hpp", ONCE + "// the heap, a whole\nint he; auto s = \"who\";\n", []),
    *(("core/bad.hpp", f"{ONCE}int a; // {word} waits\n", [(2, "person")])
      for word in "who whom whoever whose he him Who".split()),
    ("core/bad.hpp", ONCE + "/* a thread\n   whose time has come, and he\n*/\n", [(3, "person")] * 2),
    ("core/bad.hpp", ONCE + "int\ta;\n", [(2, "tab")]),
    ("core/bad.hpp", ONCE + "int a;\r\nint b;\r\n", [(2, "cr")]),
    ("core/bad.hpp", ONCE + "int a; \n", [(2, "trailing")]),
    ("core/bad.hpp", ONCE.encode() + b"// \xff\n", [(2, "ascii")]),
    ("core/bad.hpp", ONCE + "int a = errno;\n", [(2, "errno")]),
    ("core/bad.hpp", ONCE + "#if A && \\\n  defined(_WIN32)\n#endif\n", [(2, "platform")]),
    ("core/bad.hpp", ONCE + "#ifdef __linux__\n#elif ROUSE_WINDOWS\n#endif\n", [(2, "platform"), (3, "platform")]),
    ("fwd.hpp", ONCE + "#ifndef ROUSE_LINUX\n#endif\n", [(2, "platform")]),
    ("engines/bad.hpp", ONCE + "#if ROUSE_LINUX\n#endif\nint a;\n", [(2, "platform")]),
    ("engines/bad.hpp", ONCE + "int a;\n#if ROUSE_LINUX\n#endif\n", [(3, "platform")]),
    ("engines/bad.hpp", ONCE + "#if ROUSE_LINUX\n#endif\n#ifdef _WIN32\n#endif\n", [(2, "platform"), (4, "platform")]),
    ("engines/bad.hpp", ONCE + "#if ROUSE_LINUX\n#ifdef _WIN32\n#endif\n#endif\n", [(3, "platform")]),
    ("wakers/bad.hpp", ONCE + "#if ROUSE_LINUX\n#endif\n", [(2, "platform")]),
    ("engines/bad.hpp", ONCE + "#if ROUSE_LINUX\n", [(2, "platform")]),
    *((f"{layer}/bad.hpp", including(f"<rouse/os/{platform}/poll.hpp>"), [(2, "platform folder")])
      for platform in ("linux", "windows") for layer in ("wakers", "sockets", "schedulers")),
    ("engines/bad.hpp", including("<rouse/os/windows/poll.hpp>"), []),
    ("../bad.hpp", ONCE, [(1, "no layer")]),
    *(("engines/bad.hpp", including(f"<{header}>"), [(2, "os header")])
      for header in "sys/a.h netinet/in.h arpa/inet.h linux/io_uring.h unistd.h fcntl.h poll.h errno.h cerrno "
                    "winsock2.h ws2tcpip.h mswsock.h windows.h Windows.h ucontext.h pthread.h signal.h sched.h "
                    "sanitizer/tsan_interface.h".split()),
]

# Permitted includes: a row includes, a column is included.
SAMPLE = "config.hpp fwd.hpp detail/list.hpp core/limit.hpp concepts/engine.hpp os/poll.hpp engines/epoll.hpp " \
         "wakers/fiber.hpp schedulers/aliases.hpp sockets/socket.hpp rouse.hpp".split()
MAY = """
    config      x..........
    fwd         xx.........
    detail      xxx........
    core        xxxx.......
    concepts    xxxxx......
    os          xxxxxx.....
    engines     xxxxxxx....
    wakers      xxxxxx.x...
    schedulers  xxxxxxxxx..
    sockets     xxxxxx...x.
    rouse       xxxxxxxxxxx
"""
for row in MAY.split("\n")[1:-1]:
    includer, may = row.split()
    header = f"{includer}.hpp" if f"{includer}.hpp" in SAMPLE else f"{includer}/bad.hpp"
    BAD += [(header, including(f"<rouse/{name}>"), [] if x == "x" else [(2, "layer")]) for name, x in zip(SAMPLE, may)]


def findings_in(tree):
    with tempfile.TemporaryDirectory() as directory:
        for name, content in tree.items():
            path = pathlib.Path(directory, "include/rouse", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return check(pathlib.Path(directory))[1]


def self_test():
    failures, fired = 0, set()
    for name, content, wanted in [("fwd.hpp", GOOD["fwd.hpp"], []), *BAD]:
        found = [(header, line, rule) for header, line, rule, _ in findings_in({**GOOD, name: content})]
        fired |= {rule for _, _, rule in found}
        if found != [(f"rouse/{name}".replace("rouse/../", ""), *finding) for finding in wanted]:
            failures += 1
            print(f"self-test: {name} {content!r}\n  wanted {wanted}\n  found  {found}")
    for rule in sorted(set(RULES) - fired):
        failures += 1
        print(f"self-test: the rule '{rule}' never fired")
    print(f"check_includes --self-test: {len(BAD) + 1} trees, {len(RULES)} rules, {failures} failures")
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=pathlib.Path, default=ROOT)
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    if options.self_test:
        return self_test()
    headers, findings = check(options.root)
    for name, line, _, sentence in findings:
        print(f"include/{name}:{line}: {sentence}")
    print(f"check_includes: {headers} headers, {len(findings)} findings")
    return 1 if not headers or findings else 0


if __name__ == "__main__":
    sys.exit(main())
