#!/usr/bin/env python3
"""Which tests show that each row of scenarios.md holds.

    scenarios.py --check         fails if the table is not what the tests say, or a row has no test and no reason
    scenarios.py --write         writes the last column anew

A test names its rows in its tags ([T04]), a script in a comment. A row that no test can show says why, in its last
column, after "no test: ".
"""
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TABLE = HERE / "scenarios.md"
CASE = re.compile(r'TEST_CASE\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+),\s*((?:"[^"]*"\s*)+)')
ID = re.compile(r"\[([A-Z]\d+)\]")
ROW = re.compile(r"^\| ([A-Z]\d+) \| ([^|]*) \|(.*)\|$")
NONE = "no test: "


def text_of(literals):
    return "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', literals))


def found():
    """For each row, the names of its tests, each with its file."""
    tests = {}
    for file in sorted(HERE.rglob("*")):
        if file.suffix not in {".cpp", ".hpp", ".py", ".sh"} or file == Path(__file__).resolve():
            continue
        source, where = file.read_text(encoding="utf-8"), file.relative_to(HERE).as_posix()
        if file.suffix in {".cpp", ".hpp"}:
            named = [(text_of(name), text_of(tags)) for name, tags in CASE.findall(source)]
        else:
            named = [("", line) for line in source.splitlines() if line.lstrip().startswith("#")]
        for name, tags in named:
            for row in ID.findall(tags):
                tests.setdefault(row, []).append(f"{where}: {name}" if name else where)
    return tests


def anew(table, tests):
    """The table with its last column as the tests say, and what is wrong with it."""
    lines, wrong, rows = [], [], set()
    for line in table.splitlines():
        row = ROW.match(line)
        if row:
            name, what, shown = (part.strip() for part in row.groups())
            rows.add(name)
            if name in tests:
                shown = "<br>".join(dict.fromkeys(test.replace("|", "\\|") for test in tests[name]))
            elif not shown.startswith(NONE):
                shown = ""
                wrong.append(f"{name} has neither a test nor a reason")
            line = f"| {name} | {what} | {shown} |"
        lines.append(line)
    # O1 to O7 are the contracts of core/operation.hpp, and have no row.
    wrong += [f"a test names {name}, which is no row" for name in sorted(tests) if name not in rows and name[0] != "O"]
    return "\n".join(lines) + "\n", wrong


def main(arguments):
    if arguments not in (["--check"], ["--write"]):
        sys.exit(__doc__)
    table = TABLE.read_text(encoding="utf-8")
    written, wrong = anew(table, found())
    if arguments == ["--write"]:
        TABLE.write_text(written, encoding="utf-8")
    elif written != table:
        wrong.append("scenarios.md is not what the tests say: run tests/scenarios.py --write")
    print("\n".join(wrong) or "each scenario has a test or a reason")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
