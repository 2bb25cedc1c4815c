#!/usr/bin/env python3
"""One line for each test program that ctest ran: report.py JUNIT.XML

The columns, separated by tabs: program and engine, tests that passed, tests that failed, seconds, and how many tests ran
under coroutines, fibers, threads, callbacks and without a waker. Failures are shown on stderr.
"""
import re
import sys
from xml.etree import ElementTree

PLAIN = {"chaos", "interrupted", "out_of_memory"}  # programs without Catch2: each counts as one test
COUNTED = re.compile(r"^counted: (\d+) passed, (\d+) failed; (\d+) coroutines, (\d+) fibers, (\d+) threads, (\d+) callbacks, (\d+) no waker",
                     re.MULTILINE)
FAILURE = re.compile(r"FAILED:|ERROR|WARNING: Thread")


def title(name):
    """install_calls.epoll becomes "install calls, epoll"."""
    program, _, engine = name.partition(".")
    return program.replace("_", " ") + (", " + engine.replace("_E", " E").replace("_seed_", ", seed ") if engine else "")


def result(name, status, output):
    """The tests that passed, those that failed, and the wakers' column."""
    if name.partition(".")[0] in PLAIN:
        return int(status == "run"), int(status != "run"), ""
    counts = COUNTED.findall(output)
    if not counts:
        return 0, 1, ""
    passed, failed, *wakers = map(int, counts[-1])  # the last one, because a test may have run this program
    if failed == 0 and (status != "run" or passed == 0):
        failed = 1
    return passed, failed, "{:9} {:5} {:6} {:8} {:5}".format(*wakers)


def show(name, status, output):
    """Prints the failures in the program's output, or else its last lines."""
    lines = output.splitlines()
    near = sorted({n for at, line in enumerate(lines) if FAILURE.search(line) for n in range(at, min(at + 13, len(lines)))})
    print(f"{name}: {status}", *([lines[n] for n in near][:60] or lines[-20:]), sep="\n", file=sys.stderr)


def main(junit):
    tests = ElementTree.parse(junit).getroot().findall("testcase")
    for test in tests:
        name, status = test.get("name"), test.get("status")
        output = (test.findtext("system-out") or "").replace("\r", "")
        passed, failed, wakers = result(name, status, output)
        if failed:
            show(name, status, output)
        print(title(name), passed, failed, round(float(test.get("time"))), wakers, sep="\t")
    return not tests


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
