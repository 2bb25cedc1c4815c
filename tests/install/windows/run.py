#!/usr/bin/env python3
"""install() on Windows, under Wine: run.py [ARGUMENTS OF CATCH...]

Builds a DLL without rouse (once importing Winsock by name, once by ordinal) and a program with fibers that call it, starts a server
that replies after 100 ms, and runs the program. Builds go to build/tests/install-windows.
"""
import asyncio
import os
import pathlib
import shutil
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[3]
OUT = ROOT / "build/tests/install-windows"
HERE = "tests/install/windows"
TOOLS = "x86_64-w64-mingw32"
FLAGS = "-O1 -D_WIN32_WINNT=0x0A00 -Wall -Wextra -Wconversion -Wshadow".split()
CXX = [f"{TOOLS}-g++-posix", "-std=c++20", *FLAGS, "-isystem", OUT / "catch", "-Iinclude", "-Itests"]
DELAY = 0.1  # seconds


def run(*command):
    subprocess.run([str(c) for c in command], check=True, cwd=ROOT)


def build():
    (OUT / "catch/catch2").mkdir(parents=True, exist_ok=True)
    shutil.copy("/usr/include/catch2/catch.hpp", OUT / "catch/catch2")  # alone: the rest of /usr/include is Linux's
    dll = [f"{TOOLS}-gcc-posix", *FLAGS, "-shared", f"{HERE}/blocking_client.c"]
    by_number = OUT / "libws2_32_by_number.a"
    run(f"{TOOLS}-dlltool", "-d", f"{HERE}/ws2_32_by_number.def", "-l", by_number)
    run(*dll, "-o", OUT / "blocking_client.dll", f"-Wl,--out-implib={OUT}/libblocking_client.a", "-lws2_32")
    run(*dll, "-o", OUT / "blocking_client_by_number.dll", by_number, "-lws2_32")
    run(*CXX, "tests/main.cpp", f"{HERE}/calls.cpp", "-o", OUT / "calls.exe", "-static", OUT / "libblocking_client.a", "-lws2_32",
        "-lmswsock")


async def answer(reader, writer):
    line = await reader.readline()
    await asyncio.sleep(DELAY)
    writer.write(line)
    writer.close()


def serve(started):
    async def forever():
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=256)
        started(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


def slow_server():
    """Returns its port."""
    port, there = [], threading.Event()
    threading.Thread(target=serve, args=[lambda p: (port.append(p), there.set())], daemon=True).start()
    there.wait()
    return port[0]


def main():
    build()
    environment = {**os.environ, "SLOW_SERVER": str(slow_server()), "ROUSE_PROMISED_ENGINE": "IOCP"}
    return subprocess.run(["wine", "calls.exe", *sys.argv[1:]], cwd=OUT, env=environment, stdin=subprocess.DEVNULL,
                          timeout=120).returncode


if __name__ == "__main__":
    sys.exit(main())
