#!/usr/bin/env python3
"""A server that is interrupted ends quietly: run.py SERVER, run.py --wine SERVER.EXE

For each waker and engine: 100 idle connections, 10 with a peer that sends and never reads, then a real
SIGINT to the process (under Wine Ctrl-C, typed into its console). It must close its port and exit
with code 0.
"""
import fcntl
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios

PATIENCE = 20  # seconds


def start(server, waker, engine):
    """Returns the process and a function that interrupts it."""
    if engine != "IOCP":
        environment = {**os.environ, "ROUSE_ENGINE": engine}
        p = subprocess.Popen([server, waker], stdout=subprocess.PIPE, text=True, env=environment)
        return p, lambda: p.send_signal(signal.SIGINT)
    keyboard, terminal = pty.openpty()

    def rule():  # Wine uses the controlling terminal as its console
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    p = subprocess.Popen(["wine", server, waker], stdin=terminal, stdout=subprocess.PIPE, text=True, preexec_fn=rule)
    os.close(terminal)
    return p, lambda: os.write(keyboard, b"\x03")


def fault(server, waker, engine):
    """Returns the fault, or None."""
    p, interrupt = start(server, waker, engine)
    try:
        port, report = p.stdout.readline().split(" ", 1)
        if not report.startswith(engine):
            return f"another engine: {report.strip()}"
        where = ("127.0.0.1", int(port))
        idle = [socket.create_connection(where, timeout=PATIENCE) for _ in range(100)]
        for i, s in enumerate(idle):  # each is served once, and then waits
            s.sendall(b"%d" % i)
            if s.recv(16) != b"%d" % i:
                return "does not echo"
        halves = [socket.create_connection(where, timeout=PATIENCE) for _ in range(10)]
        for s in halves:  # until the server's send waits, and therefore ours
            s.setblocking(False)
            while select.select([], [s], [], 0.2)[1]:
                try:
                    s.send(b"x" * 65536)
                except BlockingIOError:
                    break
        interrupt()
        out, _ = p.communicate(timeout=PATIENCE)
        if p.returncode != 0:
            return f"exit code {p.returncode}"
        if out.strip() != "ended":
            return f"said {out!r}"
        try:
            socket.create_connection(where, timeout=PATIENCE)
            return "the port is still open"
        except ConnectionRefusedError:
            return None
    except (OSError, ValueError, subprocess.TimeoutExpired) as e:
        return repr(e)
    finally:
        p.kill()
        p.wait()


def main():
    failed = 0
    for engine in ("IOCP",) if sys.argv[1] == "--wine" else ("io_uring", "epoll"):
        for waker in ("coroutine", "fiber", "thread", "callback"):
            why = fault(sys.argv[-1], waker, engine)
            failed += why is not None
            print(engine, waker, why or "ok")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
