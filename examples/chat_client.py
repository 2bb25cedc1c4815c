#!/usr/bin/env python3
"""Guests of a chat server, without rouse: chat_client.py PORT

They enter, speak and leave, and must receive exactly the right lines. One guest sends a thousand
lines at once, all of which must arrive. One guest reads none of the megabytes that are sent to it:
it must be dropped, and the others must not wait for it.
"""
import socket
import sys
import time

PATIENCE = 60  # seconds; anything slower has failed
PORT = int(sys.argv[1])


class Guest:
    def __init__(self, name, buffer=None):
        self.conn = socket.socket()
        if buffer:
            self.conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.conn.settimeout(PATIENCE)
        self.conn.connect(("127.0.0.1", PORT))
        self.lines = self.conn.makefile("r", newline="\n")
        self.hears("your name? ", len("your name? "))
        self.says(name)

    def says(self, *lines):
        self.conn.sendall("".join(line + "\r\n" for line in lines).encode())

    def hears(self, line, size=-1):
        heard = self.lines.read(size) if size >= 0 else self.lines.readline().rstrip("\n")
        if heard != line:
            raise ValueError(f"heard {heard!r}, not {line!r}")

    def leaves(self):
        self.conn.shutdown(socket.SHUT_WR)
        self.conn.close()


def main():
    anna = Guest("anna")
    anna.hears("* anna has come")
    bert = Guest("anna")
    bert.hears("another name? ", len("another name? "))
    bert.says("bert")
    for guest in anna, bert:
        guest.hears("* bert has come")
    anna.says("hello", "\x1b[31mred")
    bert.hears("anna: hello")
    bert.hears("anna: [31mred")

    many = [f"line {n}" for n in range(1000)]
    bert.says(*many)
    for line in many:
        anna.hears("bert: " + line)

    slow = Guest("slow", 4096)
    for guest in anna, bert:
        guest.hears("* slow has come")
    said, longest, text, dropped = 0, 0.0, "x" * 1000, False
    while not dropped and said < 20000:
        begin = time.monotonic()
        anna.says(*[text] * 20)
        for _ in range(20):
            line = bert.lines.readline()
            if line.startswith("* slow"):
                dropped = line == "* slow does not keep up\n"
                line = bert.lines.readline()
            if line != f"anna: {text}\n":
                raise ValueError(f"heard {line!r}")
        said += 20
        longest = max(longest, time.monotonic() - begin)
    if not dropped:
        raise ValueError(f"{said} lines were kept for a guest that hears none")
    anna.hears("* slow does not keep up")

    bert.leaves()
    anna.hears("* bert has left")
    anna.leaves()
    print(f"ok longest={longest * 1000:.0f}ms")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as e:
        sys.exit(f"FAILED {e!r}")
