#!/usr/bin/env python3
"""TLS with other implementations: run.py PEER CERTIFICATES [--small] [WORD]

PEER (peer.cpp) talks to OpenSSL's s_server and s_client, to GnuTLS's gnutls-serv and gnutls-cli, to
Python's ssl and to curl: under each scheduler, by TLS 1.2 and 1.3. With --small, for sanitizers, each
case runs under one scheduler only, and the amounts of bytes are small. With WORD, only the cases with it
in their title run.
"""
import functools
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time

# [K22] TLS with other implementations, under each scheduler.
PATIENCE = 30  # seconds; only a failing case waits that long
SCHEDULERS = ("coroutines", "fibers", "threads", "callbacks")
SMALL = "--small" in sys.argv
PEER, CERTIFICATES, *WORDS = [a for a in sys.argv[1:] if a != "--small"]
MIB = 1 << 20


class Fault(Exception):
    pass


def check(holds, *what):
    if not holds:
        raise Fault(" ".join(map(str, what)))


def same(seen, wanted):
    check(seen == wanted, f"saw {seen!r}\n    wanted {wanted!r}")


def file(name):
    return os.path.join(CERTIFICATES, name)


class Child:
    """A program; a thread collects its output."""

    all = []

    def __init__(self, *command):
        self.command = command
        self.output = b""
        self.searched = 0  # so many bytes of it
        self.ended = False
        self.changed = threading.Condition()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
        self.thread = threading.Thread(target=self.collect)
        self.thread.start()
        Child.all.append(self)

    def collect(self):
        while True:
            more = self.process.stdout.read(1 << 16)
            with self.changed:
                self.output += more
                self.ended = not more
                self.changed.notify_all()
            if not more:
                return

    def until(self, pattern):
        """Waits until the pattern follows what was found before, and returns the match."""
        wanted = re.compile(pattern.encode())
        with self.changed:
            while not (found := wanted.search(self.output, self.searched)):
                self.searched = max(self.searched, len(self.output) - 1000)
                check(not self.ended and self.changed.wait(PATIENCE), f"no {pattern!r}")
            self.searched = found.end()
            return found

    def until_size(self, size):
        with self.changed:
            self.changed.wait_for(lambda: len(self.output) >= size or self.ended, PATIENCE)

    def say(self, text):
        try:
            self.process.stdin.write(text.encode())
        except BrokenPipeError:
            raise Fault(f"ended early") from None

    def leave(self):
        """Closes its input."""
        self.process.stdin.close()

    def kill(self):
        self.process.kill()

    def end(self):
        """Waits for its end, and returns the lines of its output."""
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Fault("does not end") from None
        self.thread.join(PATIENCE)
        return self.output.decode(errors="replace").splitlines()

    @property
    def code(self):
        return self.process.wait(PATIENCE)

    @staticmethod
    def finish_all():
        for child in Child.all:
            child.process.kill()
            child.process.wait()
            child.thread.join()
            child.process.stdin.close()
            child.process.stdout.close()
        Child.all.clear()


# ---- our side


class Ours(Child):
    def __init__(self, scheduler, role, **values):
        super().__init__(PEER, scheduler, role, *(f"{name}={value}" for name, value in values.items()))

    def lines(self, *wanted):
        """It has ended by itself, and its output is that; the connections of a server run side by side."""
        seen = self.end()
        if self.command[2] == "server":
            same(sorted(seen[1:]), sorted(wanted))
        else:
            same(seen, list(wanted))
        same(self.code, 0)


def client(scheduler, port, name="localhost", **values):
    return Ours(scheduler, "client", port=port, name=name, roots=file("root.pem"), **values)


def server(scheduler, certificate="good", **values):
    made = Ours(scheduler, "server", certificate=file(certificate + ".pem"), key=file(certificate + ".key"), **values)
    made.port, engine = made.until(r"(\d+) .*\n").group().decode().split(maxsplit=1)
    check(engine.startswith(os.environ.get("ROUSE_PROMISED_ENGINE", "")), "another engine:", engine)
    return made


def shaken(version, peer, alpn="", how="new", name="localhost"):
    return f"shaken TLSv{version} alpn={alpn} {how} name={name} peer={peer}"


# ---- their servers


def openssl_server(version, certificate="good", *options, mode="-rev"):
    """By default, one that reverses lines."""
    made = Child(
        "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", file(certificate + ".pem"), "-cert_chain", file(certificate + ".pem"),
        "-key", file(certificate + ".key"), "-tls" + version.replace(".", "_"), mode, *options)  # fmt: skip
    made.port = made.until(r"ACCEPT 127.0.0.1:(\d+)\n").group(1).decode()
    return made


def port_of(process):
    """The port at which a process listens, on IPv4."""
    sockets = {os.readlink(f"/proc/{process}/fd/{n}") for n in os.listdir(f"/proc/{process}/fd")}
    for line in open("/proc/net/tcp").readlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
            return int(fields[1].split(":")[1], 16)
    raise Fault("does not listen")


def priority(version):
    return f"NORMAL:-VERS-ALL:+VERS-TLS{version}"


def gnutls_server(version, certificate="good", *options):
    made = Child(
        "gnutls-serv", "--echo", "--port=0", "--priority=" + priority(version), "--x509certfile=" + file(certificate + ".pem"),
        "--x509keyfile=" + file(certificate + ".key"), *options)  # fmt: skip
    made.until(r"IPv4 .*done")
    made.port = port_of(made.process.pid)
    return made


def python_context(role, version):
    made = ssl.SSLContext(role)
    made.minimum_version = made.maximum_version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    return made


class PythonServer(threading.Thread):
    """Serves connections one after the other by a function, and keeps its results."""

    def __init__(self, version, serve, connections=1, prepare=lambda context: None):
        super().__init__(daemon=True)
        self.context = python_context(ssl.PROTOCOL_TLS_SERVER, version)
        self.context.load_cert_chain(file("good.pem"), file("good.key"))
        prepare(self.context)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE)
        self.port = self.listener.getsockname()[1]
        self.serve, self.connections, self.results = serve, connections, []
        self.start()

    def run(self):
        with self.listener:
            for _ in range(self.connections):
                try:
                    plain = self.listener.accept()[0]
                    plain.settimeout(PATIENCE)
                    with self.context.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False) as conn:
                        self.results.append(self.serve(conn))
                except OSError as e:
                    self.results.append(type(e).__name__)

    def lines(self, *wanted):
        self.join(PATIENCE)
        same(self.results, list(wanted))


def echo(conn):
    """Until the peer has said goodbye; then says it too."""
    buffer = memoryview(bytearray(1 << 16))
    while size := conn.recv_into(buffer):
        conn.sendall(buffer[:size])
    conn.unwrap().close()
    return "end"


# ---- their clients


def openssl_client(ours, version, *options):
    return Child(
        "openssl", "s_client", "-connect", f"127.0.0.1:{ours.port}", "-servername", "localhost", "-verify_return_error",
        "-CAfile", file("root.pem"), "-tls" + version.replace(".", "_"), *options)  # fmt: skip


def gnutls_client(ours, version, *options, name="localhost"):
    return Child(
        "gnutls-cli", "--x509cafile=" + file("root.pem"), "--priority=" + priority(version), "--inline-commands",
        "--sni-hostname=localhost", "--verify-hostname=" + name, f"--port={ours.port}", *options, "127.0.0.1")  # fmt: skip


def python_client(ours, version, prepare=lambda context: None, **options):
    context = python_context(ssl.PROTOCOL_TLS_CLIENT, version)
    context.load_verify_locations(file("root.pem"))
    prepare(context)
    plain = socket.create_connection(("127.0.0.1", ours.port), PATIENCE)
    return context.wrap_socket(plain, **{"server_hostname": "localhost", "suppress_ragged_eofs": False, **options})


def curl(ours, version, *options):
    return Child(
        "curl", "--silent", "--show-error", "--include", "--max-time", str(PATIENCE), "--cacert", file("root.pem"),
        "--tls-max", version, "--tlsv" + version, "--resolve", f"localhost:{ours.port}:127.0.0.1",
        f"https://localhost:{ours.port}/", *options)  # fmt: skip


# ---- the cases: functions of a scheduler and a version

CASES = []


def case(function, versions=("1.2", "1.3")):
    for version in versions:
        CASES.append((function.__name__.replace("_", " "), function, version))
    return function


only_1_3 = functools.partial(case, versions=("1.3",))
only_1_2 = functools.partial(case, versions=("1.2",))


def received(conn, size):
    """Exactly so many bytes."""
    got = b""
    while len(got) < size and (more := conn.recv(size - len(got))):
        got += more
    return got


# ---- our client

HELLO = {"do": "exchange", "send": "hello\n", "expect": "hello\n"}
REVERSED = {**HELLO, "expect": "olleh\n"}


@case
def client_of_s_server_says_goodbye_first(scheduler, version):
    theirs = openssl_server(version)
    client(scheduler, theirs.port, **REVERSED, ending="first").lines(shaken(version, "good"), "exchanged", "end")


@case
def client_that_says_goodbye_to_s_server(scheduler, version):
    theirs = openssl_server(version, mode="-no_ign_eof")
    theirs.say("hello\n")
    client(scheduler, theirs.port, **HELLO, ending="first").lines(shaken(version, "good"), "exchanged", "end")
    theirs.until("DONE")


@case
def client_of_s_server_says_goodbye_last(scheduler, version):
    theirs = openssl_server(version)
    ours = client(scheduler, theirs.port, do="exchange", send="CLOSE\n", expect="", ending="last")
    ours.lines(shaken(version, "good"), "exchanged", "end")


@case
def client_of_s_server_that_is_killed(scheduler, version):
    theirs = openssl_server(version)
    ours = client(scheduler, theirs.port, **REVERSED, ending="last")
    ours.until("exchanged")
    theirs.kill()
    ours.lines(shaken(version, "good"), "exchanged", "truncated")


@case
def client_that_leaves_s_server(scheduler, version):
    theirs = openssl_server(version, mode="-no_ign_eof")
    theirs.say("hello\n")
    client(scheduler, theirs.port, **HELLO, ending="cut").lines(shaken(version, "good"), "exchanged", "cut")
    theirs.until("ERROR")


@case
def client_of_gnutls_serv_says_goodbye_first(scheduler, version):
    theirs = gnutls_server(version)
    client(scheduler, theirs.port, **HELLO, ending="first").lines(shaken(version, "good"), "exchanged", "end")


@case
def client_of_gnutls_serv_that_is_killed(scheduler, version):
    theirs = gnutls_server(version)
    ours = client(scheduler, theirs.port, **HELLO, ending="last")
    ours.until("exchanged")
    theirs.kill()
    ours.lines(shaken(version, "good"), "exchanged", "truncated")


@case
def client_of_python_says_goodbye_first(scheduler, version):
    theirs = PythonServer(version, echo)
    client(scheduler, theirs.port, **HELLO, ending="first").lines(shaken(version, "good"), "exchanged", "end")
    theirs.lines("end")


@case
def client_of_python_says_goodbye_last(scheduler, version):
    def answer(conn):
        conn.sendall(received(conn, 6))
        conn.unwrap().close()
        return "end"

    theirs = PythonServer(version, answer)
    client(scheduler, theirs.port, **HELLO, ending="last").lines(shaken(version, "good"), "exchanged", "end")
    theirs.lines("end")


@case
def client_of_python_that_leaves(scheduler, version):
    theirs = PythonServer(version, lambda conn: conn.sendall(received(conn, 6)))
    client(scheduler, theirs.port, **HELLO, ending="last").lines(shaken(version, "good"), "exchanged", "truncated")
    theirs.lines(None)


@case
def client_that_leaves_python(scheduler, version):
    theirs = PythonServer(version, echo)
    client(scheduler, theirs.port, **HELLO, ending="cut").lines(shaken(version, "good"), "exchanged", "cut")
    theirs.lines("SSLEOFError")


# The certificate, the name of the server for the client, and the reason to refuse it.
UNKNOWN = "unable to get local issuer certificate"
REFUSED = [
    ("good", "wrong.test", "hostname mismatch"),
    ("wildcard", "a.b.server.test", "hostname mismatch"),
    ("ip", "localhost", "hostname mismatch"),
    ("ip", "127.0.0.2", "IP address mismatch"),
    ("expired", "localhost", "certificate has expired"),
    ("stranger", "localhost", UNKNOWN),
    ("incomplete", "localhost", UNKNOWN),
]
ACCEPTED = [
    ("good", "server.test", "good"),
    ("wildcard", "a.server.test", "wildcard"),
    ("ip", "127.0.0.1", "ip"),
    ("chained", "localhost", "incomplete"),  # its certificate is that of "incomplete"
]


def refuses(scheduler, start):
    for certificate, name, reason in REFUSED:
        ours = client(scheduler, start(certificate).port, name, **HELLO, ending="first")
        ours.lines("refused: certificate rejected: " + reason)


def accepts(scheduler, version, start, what):
    for certificate, name, subject in ACCEPTED:
        ours = client(scheduler, start(certificate).port, name, **what, ending="first")
        sent_name = "" if name[0].isdigit() else name  # an address is not sent
        ours.lines(shaken(version, subject, name=sent_name), "exchanged", "end")


@case
def client_refuses_s_server(scheduler, version):
    refuses(scheduler, lambda certificate: openssl_server(version, certificate))


@case
def client_refuses_gnutls_serv(scheduler, version):
    refuses(scheduler, lambda certificate: gnutls_server(version, certificate))


@case
def client_accepts_s_server(scheduler, version):
    accepts(scheduler, version, lambda certificate: openssl_server(version, certificate), REVERSED)


@case
def client_accepts_gnutls_serv(scheduler, version):
    accepts(scheduler, version, lambda certificate: gnutls_server(version, certificate), HELLO)


@only_1_3
def client_of_s_server_takes_new_keys(scheduler, version):
    theirs = openssl_server(version)  # it sleeps for a second when there are new keys
    ours = client(scheduler, theirs.port, **REVERSED, rounds=2, ending="first")
    ours.lines(shaken(version, "good"), "exchanged", "exchanged", "end")


@only_1_3
def client_of_gnutls_serv_takes_new_keys(scheduler, version):
    theirs = gnutls_server(version)
    ours = client(scheduler, theirs.port, **HELLO, rounds=4, ending="first")
    ours.lines(shaken(version, "good"), *["exchanged"] * 4, "end")


@only_1_3
def client_of_python_takes_new_keys_amid_much(scheduler, version):
    theirs = PythonServer(version, echo)
    ours = client(scheduler, theirs.port, do="exchange", bytes=MIB, rounds=4, ending="first")
    ours.lines(shaken(version, "good"), *["exchanged"] * 4, "end")
    theirs.lines("end")


@case
def client_of_s_server_agrees_on_a_protocol(scheduler, version):
    theirs = openssl_server(version, "good", "-alpn", "other,http/1.1")
    ours = client(scheduler, theirs.port, **REVERSED, alpn="h2,http/1.1", ending="first")
    ours.lines(shaken(version, "good", alpn="http/1.1"), "exchanged", "end")


@case
def client_of_gnutls_serv_agrees_on_a_protocol(scheduler, version):
    theirs = gnutls_server(version, "good", "--alpn=http/1.1", "--alpn-fatal")
    ours = client(scheduler, theirs.port, **HELLO, alpn="h2,http/1.1", ending="first")
    ours.lines(shaken(version, "good", alpn="http/1.1"), "exchanged", "end")
    ours = client(scheduler, theirs.port, **HELLO, alpn="h2", ending="first")
    ours.lines("refused: TLS handshake failed: tlsv1 alert no application protocol")


@case
def client_of_s_server_resumes(scheduler, version):
    theirs = openssl_server(version)
    ours = client(scheduler, theirs.port, **REVERSED, count=3, ending="first")
    again = shaken(version, "good", how="resumed")
    ours.lines(shaken(version, "good"), "exchanged", "end", again, "exchanged", "end", again, "exchanged", "end")


@case
def client_of_s_server_without_tickets(scheduler, version):
    theirs = openssl_server(version, "good", "-no_ticket")  # it keeps the sessions
    ours = client(scheduler, theirs.port, **REVERSED, count=2, ending="first")
    ours.lines(shaken(version, "good"), "exchanged", "end", shaken(version, "good", how="resumed"), "exchanged", "end")


@case
def client_of_gnutls_serv_resumes(scheduler, version):
    theirs = gnutls_server(version)
    ours = client(scheduler, theirs.port, **HELLO, count=2, ending="first")
    ours.lines(shaken(version, "good"), "exchanged", "end", shaken(version, "good", how="resumed"), "exchanged", "end")


@case
def client_of_python_resumes(scheduler, version):
    theirs = PythonServer(version, lambda conn: (conn.session_reused, echo(conn)), connections=2)
    ours = client(scheduler, theirs.port, **HELLO, count=2, ending="first")
    ours.lines(shaken(version, "good"), "exchanged", "end", shaken(version, "good", how="resumed"), "exchanged", "end")
    theirs.lines((False, "end"), (True, "end"))


OURS = {"certificate": file("client.pem"), "key": file("client.key")}


@case
def client_shows_s_server_its_certificate(scheduler, version):
    theirs = openssl_server(version, "good", "-Verify", "1", "-verify_return_error", "-CAfile", file("root.pem"))
    client(scheduler, theirs.port, **REVERSED, **OURS, ending="first").lines(shaken(version, "good"), "exchanged", "end")
    theirs.until("CN = client")
    refused_client(client(scheduler, theirs.port, **REVERSED, ending="first"), version)


@case
def client_shows_gnutls_serv_its_certificate(scheduler, version):
    theirs = gnutls_server(version, "good", "--require-client-cert", "--verify-client-cert", "--x509cafile=" + file("root.pem"))
    client(scheduler, theirs.port, **HELLO, **OURS, ending="first").lines(shaken(version, "good"), "exchanged", "end")
    refused_client(client(scheduler, theirs.port, **HELLO, ending="first"), version)


@case
def client_shows_python_its_certificate(scheduler, version):
    def demand(context):
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(file("root.pem"))

    theirs = PythonServer(version, lambda conn: (conn.getpeercert()["subject"][0][0][1], echo(conn)), prepare=demand)
    client(scheduler, theirs.port, **HELLO, **OURS, ending="first").lines(shaken(version, "good"), "exchanged", "end")
    theirs.lines(("client", "end"))


def refused_client(ours, version):
    """By TLS 1.3, the client learns of it after its handshake."""
    last = ours.end()[-1]
    check(last.startswith("refused: TLS handshake failed: " if version == "1.2" else "error: TLS protocol error: "), ours.output)


# ---- our server


@case
def server_of_s_client_that_says_goodbye_first(scheduler, version):
    ours = server(scheduler, do="echo")
    theirs = openssl_client(ours, version)
    theirs.say("hello\n")
    theirs.until("hello\n")
    theirs.say("Q\n")
    ours.lines(shaken(version, ""), "end")
    same(theirs.code, 0)


@case
def server_of_s_client_says_goodbye_first(scheduler, version):
    ours = server(scheduler, **HELLO, ending="first")
    theirs = openssl_client(ours, version)
    theirs.say("hello\n")
    ours.lines(shaken(version, ""), "exchanged", "end")
    theirs.until("hello\n")
    theirs.until("closed")
    same(theirs.code, 0)


@case
def server_of_s_client_that_is_killed(scheduler, version):
    ours = server(scheduler, do="echo")
    theirs = openssl_client(ours, version)
    theirs.say("hello\n")
    theirs.until("hello\n")
    theirs.kill()
    ours.lines(shaken(version, ""), "truncated")


@case
def server_that_leaves_s_client(scheduler, version):
    ours = server(scheduler, **HELLO, ending="cut")
    theirs = openssl_client(ours, version)
    theirs.say("hello\n")
    ours.lines(shaken(version, ""), "exchanged", "cut")
    theirs.until("unexpected eof")
    same(theirs.code, 1)


@case
def server_of_gnutls_cli_that_says_goodbye_first(scheduler, version):
    ours = server(scheduler, do="echo")
    theirs = gnutls_client(ours, version)
    theirs.say("hello\n")
    theirs.until("hello\n")
    theirs.leave()
    ours.lines(shaken(version, ""), "end")
    theirs.until("Peer has closed the GnuTLS connection")
    same(theirs.code, 0)


@case
def server_of_gnutls_cli_says_goodbye_first(scheduler, version):
    ours = server(scheduler, **HELLO, ending="first")
    theirs = gnutls_client(ours, version)
    theirs.say("hello\n")
    ours.lines(shaken(version, ""), "exchanged", "truncated")  # it just leaves
    theirs.until("Peer has closed the GnuTLS connection")
    same(theirs.code, 0)


@case
def server_of_gnutls_cli_that_is_killed(scheduler, version):
    ours = server(scheduler, do="echo")
    theirs = gnutls_client(ours, version)
    theirs.say("hello\n")
    theirs.until("hello\n")
    theirs.kill()
    ours.lines(shaken(version, ""), "truncated")


@case
def server_that_leaves_gnutls_cli(scheduler, version):
    ours = server(scheduler, **HELLO, ending="cut")
    theirs = gnutls_client(ours, version)
    theirs.say("hello\n")
    ours.lines(shaken(version, ""), "exchanged", "cut")
    theirs.until("connection was non-properly terminated")
    same(theirs.code, 1)


@case
def server_of_python_that_says_goodbye_first(scheduler, version):
    ours = server(scheduler, do="echo")
    with python_client(ours, version) as theirs:
        theirs.sendall(b"hello\n")
        same(received(theirs, 6), b"hello\n")
        theirs.unwrap().close()
    ours.lines(shaken(version, ""), "end")


@case
def server_of_python_says_goodbye_first(scheduler, version):
    ours = server(scheduler, **HELLO, ending="first")
    with python_client(ours, version) as theirs:
        theirs.sendall(b"hello\n")
        same(received(theirs, 100), b"hello\n")
        theirs.unwrap().close()
    ours.lines(shaken(version, ""), "exchanged", "end")


@case
def server_of_python_that_leaves(scheduler, version):
    ours = server(scheduler, do="echo")
    with python_client(ours, version) as theirs:
        theirs.sendall(b"hello\n")
        same(received(theirs, 6), b"hello\n")
    ours.lines(shaken(version, ""), "truncated")


@case
def server_that_leaves_python(scheduler, version):
    ours = server(scheduler, **HELLO, ending="cut")
    with python_client(ours, version) as theirs:
        theirs.sendall(b"hello\n")
        same(received(theirs, 6), b"hello\n")
        try:
            theirs.recv(1)
            raise Fault("the end was orderly")
        except ssl.SSLEOFError:
            pass
    ours.lines(shaken(version, ""), "exchanged", "cut")


@case
def server_with_many_clients_at_once(scheduler, version):
    ours = server(scheduler, do="echo", count=20)
    theirs = [python_client(ours, version) for _ in range(20)]
    for conn in theirs:
        conn.sendall(b"hello\n")
    for conn in theirs:
        same(received(conn, 6), b"hello\n")
        conn.unwrap().close()
    ours.lines(*[shaken(version, ""), "end"] * 20)


@case
def server_that_s_client_refuses(scheduler, version):
    ours = server(scheduler, do="echo")
    theirs = openssl_client(ours, version, "-verify_hostname", "wrong.test")
    theirs.until("ostname mismatch")
    ours.lines("refused: TLS handshake failed: sslv3 alert bad certificate")


@case
def server_that_gnutls_cli_refuses(scheduler, version):
    ours = server(scheduler, do="echo")
    theirs = gnutls_client(ours, version, name="wrong.test")
    theirs.until("The name in the certificate does not match")
    refused_server(ours)


@case
def server_that_python_refuses(scheduler, version):
    ours = server(scheduler, "stranger", do="echo")
    try:
        python_client(ours, version)
        raise Fault("it was accepted")
    except ssl.SSLCertVerificationError as e:
        check("unable to get local issuer" in str(e), e)
    ours.lines("refused: TLS handshake failed: tlsv1 alert unknown ca")


def refused_server(ours):
    lines = ours.end()[1:]
    check(len(lines) == 1 and lines[0].startswith("refused: "), lines)


@only_1_3
def server_of_s_client_that_takes_new_keys(scheduler, version):
    ours = server(scheduler, do="echo")
    theirs = openssl_client(ours, version)
    for n, command in enumerate("KkKkKK", 1):
        theirs.say(command + "\n")
        theirs.until("KEYUPDATE")
        theirs.say(f"{'~' * 10000} {n}\n")
        theirs.until(f"~ {n}\n")
    theirs.say("Q\n")
    ours.lines(shaken(version, ""), "end")
    same(theirs.code, 0)


@only_1_3
def server_of_s_client_that_takes_new_keys_amid_much(scheduler, version):
    letters = (1 if SMALL else 4) * 1000 * 1000
    ours = server(scheduler, do="exchange", send="é" * 1000, times=letters // 1000, expect="stop\n", ending="first")
    theirs = openssl_client(ours, version)
    for n in range(1, 21):
        theirs.say("K\n" if n % 2 else "k\n")
        theirs.until("KEYUPDATE")
    theirs.say("stop\n")
    ours.lines(shaken(version, ""), "exchanged", "end")
    same(theirs.end() and [theirs.output.count(b"\xc3"), theirs.output.count(b"\xa9")], [letters, letters])
    same(theirs.code, 0)


@only_1_3
def server_of_gnutls_cli_that_takes_new_keys(scheduler, version):
    ours = server(scheduler, do="echo")
    theirs = gnutls_client(ours, version)
    for n in range(1, 6):
        theirs.say("^rekey^\n")
        theirs.until("Rekey was completed")
        theirs.say(f"line {n}\n")
        theirs.until(f"line {n}\n")
    theirs.leave()
    ours.lines(shaken(version, ""), "end")
    same(theirs.code, 0)


@case
def server_agrees_with_s_client_on_a_protocol(scheduler, version):
    ours = server(scheduler, do="echo", alpn="h2,http/1.1", count=2)
    theirs = openssl_client(ours, version, "-alpn", "http/1.1,h2")
    theirs.until("ALPN protocol: h2")
    theirs.say("Q\n")
    theirs.end()
    theirs = openssl_client(ours, version, "-alpn", "other")
    theirs.until("alert no application protocol")
    ours.lines(shaken(version, "", alpn="h2"), "end", "refused: TLS handshake failed: no application protocol")


@case
def server_agrees_with_gnutls_cli_on_a_protocol(scheduler, version):
    ours = server(scheduler, do="echo", alpn="h2,http/1.1")
    theirs = gnutls_client(ours, version, "--alpn=http/1.1")
    theirs.until("Application protocol: http/1.1")
    theirs.leave()
    ours.lines(shaken(version, "", alpn="http/1.1"), "end")


@case
def server_that_s_client_resumes(scheduler, version):
    ours = server(scheduler, do="echo", count=2)
    session = os.path.join(os.path.dirname(PEER), f"session_{os.getpid()}")
    try:
        for option in "-sess_out", "-sess_in":
            theirs = openssl_client(ours, version, option, session)
            theirs.say("hello\n")
            theirs.until("hello\n")
            theirs.say("Q\n")
            theirs.end()
    finally:
        if os.path.exists(session):
            os.remove(session)
    ours.lines(shaken(version, ""), "end", shaken(version, "", how="resumed"), "end")


@case
def server_that_gnutls_cli_resumes(scheduler, version):
    """It waits for a ticket, and those of TLS 1.3 come with the first bytes of the server."""
    ours = server(scheduler, do="exchange", send="hello\n", expect="", ending="last", count=2)
    theirs = gnutls_client(ours, version, "--resume", "--waitresumption")
    theirs.until("This is a resumed session")
    theirs.until("hello\n")
    theirs.leave()
    same(theirs.end() and theirs.code, 0)
    ours.lines(shaken(version, ""), "exchanged", "end", shaken(version, "", how="resumed"), "exchanged", "end")


@case
def server_that_python_resumes(scheduler, version):
    ours = server(scheduler, do="echo", count=3)
    context = python_context(ssl.PROTOCOL_TLS_CLIENT, version)
    context.load_verify_locations(file("root.pem"))
    session = None
    for n in range(3):
        plain = socket.create_connection(("127.0.0.1", ours.port), PATIENCE)
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as theirs:
            theirs.sendall(b"hello\n")
            same(received(theirs, 6), b"hello\n")
            same(theirs.session_reused, n != 0)
            session = theirs.session
            theirs.unwrap().close()
    again = shaken(version, "", how="resumed")
    ours.lines(shaken(version, ""), "end", again, "end", again, "end")


@case
def server_demands_the_certificate_of_s_client(scheduler, version):
    ours = server(scheduler, do="echo", clients=file("root.pem"), count=3)
    theirs = openssl_client(ours, version, "-cert", file("client.pem"), "-key", file("client.key"))
    theirs.say("hello\n")
    theirs.until("hello\n")
    theirs.say("Q\n")
    theirs.end()
    openssl_client(ours, version).end()
    openssl_client(ours, version, "-cert", file("good.pem"), "-key", file("good.key")).end()
    ours.lines(
        shaken(version, "client"), "end", "refused: TLS handshake failed: peer did not return a certificate",
        "refused: certificate rejected: unsuitable certificate purpose")  # fmt: skip


@case
def server_demands_the_certificate_of_gnutls_cli(scheduler, version):
    ours = server(scheduler, do="echo", clients=file("root.pem"), count=2)
    theirs = gnutls_client(ours, version, "--x509certfile=" + file("client.pem"), "--x509keyfile=" + file("client.key"))
    theirs.say("hello\n")
    theirs.until("hello\n")
    theirs.leave()
    theirs.end()
    gnutls_client(ours, version).end()
    ours.lines(shaken(version, "client"), "end", "refused: TLS handshake failed: peer did not return a certificate")


@only_1_2
def server_refuses_another_handshake(scheduler, version):
    """Renegotiation: the connection survives, or ends with an error; it never hangs."""
    ours = server(scheduler, do="echo")
    theirs = gnutls_client(ours, version)
    theirs.say("^renegotiate^\n")
    theirs.end()
    ours.end()


@case
def server_of_curl(scheduler, version):
    ours = server(scheduler, do="http")
    theirs = curl(ours, version)
    same(theirs.end()[-1], "hello, curl")
    same(theirs.code, 0)
    ours.lines(shaken(version, ""), "end")


@case
def server_of_curl_that_asks_for_a_protocol(scheduler, version):
    ours = server(scheduler, do="http", alpn="http/1.1")
    theirs = curl(ours, version, "--verbose")
    same(theirs.end() and theirs.code, 0)
    check(b"hello, curl" in theirs.output, theirs.output)
    ours.lines(shaken(version, "", alpn="http/1.1"), "end")


@case
def server_that_curl_refuses(scheduler, version):
    ours = server(scheduler, "stranger", do="http")
    same(curl(ours, version).code, 60)  # CURLE_PEER_FAILED_VERIFICATION
    ours.lines("refused: TLS handshake failed: tlsv1 alert unknown ca")


# ---- many bytes


@only_1_3
def client_exchanges_much_with_python(scheduler, version):
    theirs = PythonServer(version, echo)
    ours = client(scheduler, theirs.port, do="exchange", bytes=(4 if SMALL else 64) * MIB, ending="first")
    ours.lines(shaken(version, "good"), "exchanged", "end")
    theirs.lines("end")


@only_1_2
def client_exchanges_some_with_python(scheduler, version):
    theirs = PythonServer(version, echo)
    ours = client(scheduler, theirs.port, do="exchange", bytes=4 * MIB, ending="first")
    ours.lines(shaken(version, "good"), "exchanged", "end")
    theirs.lines("end")


@case
def server_echoes_much_of_s_client(scheduler, version):
    ours = server(scheduler, do="echo")
    theirs = openssl_client(ours, version, "-quiet")
    sent = os.urandom(4 * MIB)
    writer = threading.Thread(target=lambda: theirs.process.stdin.write(sent))
    writer.start()
    theirs.until_size(len(sent))
    check(sent in theirs.output, "other bytes:", len(theirs.output))
    theirs.kill()
    writer.join()
    ours.lines(shaken(version, ""), "truncated")


def main():
    failed = 0
    passed = dict.fromkeys(SCHEDULERS, 0)
    for number, (title, function, version) in enumerate(CASES):
        if WORDS and not any(word in title for word in WORDS):
            continue
        for scheduler in SCHEDULERS[number % 4 :][:1] if SMALL else SCHEDULERS:
            begun = time.monotonic()
            try:
                why = None
                function(scheduler, version)
            except (Fault, OSError, ValueError) as e:
                why = f"FAILED: {e!r}" if not isinstance(e, Fault) else f"FAILED: {e}"
                for child in Child.all:
                    why += f"\n  {' '.join(child.command)}\n    " + child.output[-1500:].decode(errors="replace").replace("\n", "\n    ")
            Child.finish_all()
            passed[scheduler] += 1
            failed += why is not None
            print(f"{title}, TLS {version}, {scheduler}: {why or 'ok'} ({time.monotonic() - begun:.2f} s)", flush=True)
    every = ", ".join(f"{n} {scheduler}" for scheduler, n in passed.items())
    print(f"counted: {sum(passed.values()) - failed} passed, {failed} failed; {every}, 0 no waker")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
