#!/usr/bin/env python3
"""A client of an echo service, without rouse: foreign_client.py PORT [connections=32 [proxy]]

With a third argument, it connects through the SOCKS5 proxy on that port.

Each connection sends blocks of many sizes (every eighth one has 1 MiB) while it reads, half-closes,
reads to the end of the stream and compares. In between, some connections are reset: this must not
affect the others.
"""
import random
import socket
import struct
import sys
import threading

PATIENCE = 60  # seconds; anything slower has failed
SIZES = [1, 2, 79, 80, 81, 1000, 1459, 1460, 1461, 4095, 4096, 4097, 8192, 16384, 65536]
proxy = int(sys.argv[3]) if len(sys.argv) > 3 else None


def connect(port):
    conn = socket.create_connection(("127.0.0.1", proxy or port), timeout=PATIENCE)
    if proxy:
        conn.sendall(b"\5\1\0" + b"\5\1\0\1\x7f\0\0\1" + struct.pack(">H", port))
        answer = b""
        while len(answer) != 12 and (part := conn.recv(12 - len(answer))):
            answer += part
        if answer[:4] != b"\5\0\5\0":
            raise ValueError(f"the proxy says {answer}")
    return conn


def blocks(number):
    chance = random.Random(number)
    sizes = chance.sample(SIZES, len(SIZES)) + [chance.randrange(1, 5000) for _ in range(10)]
    if number % 8 == 0:
        sizes.insert(chance.randrange(len(sizes)), 1 << 20)
    yield b"hello, line %d\r\n" % number
    for size in sizes:
        yield chance.randbytes(size)


def talk(port, number):
    """Returns the number of bytes that came back unchanged; raises an exception otherwise."""
    to_send = list(blocks(number))
    failure = []
    with connect(port) as conn:

        def send():
            try:
                for block in to_send:
                    conn.sendall(block)
                conn.shutdown(socket.SHUT_WR)
            except OSError as e:
                failure.append(e)

        sender = threading.Thread(target=send)
        sender.start()
        received = bytearray()
        while part := conn.recv(65536):
            received += part
        sender.join()
    if failure:
        raise failure[0]
    expected = b"".join(to_send)
    if received != expected:
        raise ValueError(f"{len(received)} bytes came back for {len(expected)}, or other ones")
    return len(received)


def be_rude(port):
    """Sends something, reads nothing and resets the connection."""
    with connect(port) as conn:
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        conn.sendall(b"x" * 100000)


def main():
    port = int(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 32
    done, failed = [], []

    def one(number):
        try:
            if number % 4 == 3:
                be_rude(port)
            done.append(talk(port, number))
        except (OSError, ValueError) as e:
            failed.append(f"connection {number}: {e!r}")

    threads = [threading.Thread(target=one, args=(n,)) for n in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for line in failed[:5]:
        print(line, file=sys.stderr)
    ok = len(done) == count
    print(f"{'ok' if ok else 'FAILED'} connections={len(done)}/{count} bytes={sum(done)}")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
