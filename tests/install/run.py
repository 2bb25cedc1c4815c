#!/usr/bin/env python3
"""install() under libraries that do not know rouse, each with its real server on loopback.

    tests/install/run.py [NAME...]      of hiredis hiredis_tests libcurl libpq; on Debian, as root if packages are missing

Builds, starts the servers on free ports, runs each program on io_uring and epoll, ends the servers. Builds and logs go to
build/tests/install. Exits with the number of runs that failed.
"""
import asyncio
import contextlib
import os
import pathlib
import pwd
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "build/tests/install"
HERE = "tests/install"
PATIENCE = 60  # seconds
PACKAGES = {
    "/usr/include/hiredis/hiredis.h": "libhiredis-dev", "/usr/bin/redis-server": "redis-server",
    "/usr/include/postgresql/libpq-fe.h": "libpq-dev", "/usr/lib/postgresql": "postgresql",
    "/usr/include/x86_64-linux-gnu/curl/curl.h": "libcurl4-openssl-dev", "/usr/sbin/nginx": "nginx-light",
    "/usr/bin/openssl": "openssl",
}


def run(*command, **options):
    return subprocess.run([str(c) for c in command], check=True, **options)


def install_packages():
    missing = [package for path, package in PACKAGES.items() if not os.path.exists(path)]
    if not missing:
        return
    print("installing", *missing, flush=True)
    with open(OUT / "apt.log", "w") as log:
        quiet = dict(stdout=log, stderr=log, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
        run("apt-get", "update", **quiet)
        run("apt-get", "install", "-y", "--no-install-recommends", *missing, **quiet)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until_answering(port, server):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{server.args[0]} does not answer; see {OUT}")


@contextlib.contextmanager
def serving(name, port, *command, **options):
    """Runs a server for the duration of the context."""
    with open(OUT / f"{name}.log", "w") as log:
        server = subprocess.Popen([str(c) for c in command], stdout=log, stderr=log, **options)
        try:
            until_answering(port, server)
            yield
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


# ---- the servers; each yields the arguments of its program's runs


@contextlib.contextmanager
def redis(directory):
    port = free_port()
    path = f"{directory}/socket"
    with serving("redis", port, "redis-server", "--port", port, "--bind", "127.0.0.1", "--unixsocket", path, "--save", "",
                 "--dir", directory, "--enable-debug-command", "yes"):
        yield port, path


@contextlib.contextmanager
def redis_port(directory):
    with redis(directory) as (port, _):
        yield [[port]]


@contextlib.contextmanager
def redis_both(directory):
    with redis(directory) as (port, path):
        yield [["-p", port, "-s", path, "--skip-throughput"]]


def unprivileged():
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def postgresql(directory):
    port, data = free_port(), pathlib.Path(directory, "data")
    binaries = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    as_user = {**unprivileged(), "cwd": directory}
    if "user" in as_user:
        os.chown(directory, as_user["user"], as_user["group"])
    with open(OUT / "initdb.log", "w") as log:
        run(binaries / "initdb", "-D", data, "-U", "tester", "-A", "trust", "-N", stdout=log, stderr=log, **as_user)
    with serving("postgresql", port, binaries / "postgres", "-D", data, "-p", port, "-h", "127.0.0.1", "-k", directory,
                 "-c", "max_connections=150", "-c", "fsync=off", **as_user):
        # The port answers while the database still starts up, and refuses every client meanwhile.
        end = time.monotonic() + PATIENCE
        while subprocess.run([binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]).returncode != 0:
            if time.monotonic() > end:
                raise RuntimeError(f"postgresql does not accept clients; see {OUT}")
            time.sleep(0.05)
        yield [[f"host=127.0.0.1 port={port} user=tester dbname=postgres"]]


async def delaying(reader, writer):
    """Replies after 100 ms with the requested path."""
    path = (await reader.readline()).split()[1]
    while (await reader.readline()).strip():
        pass
    await asyncio.sleep(0.1)
    writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s\n" % (len(path) + 1, path))
    writer.close()


def backend():
    """Serves on a thread; returns the port. (A thread per request would take longer than the measured time.)"""
    started = queue.SimpleQueue()

    async def serve():
        server = await asyncio.start_server(delaying, "127.0.0.1", 0, backlog=256)
        started.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    return started.get(timeout=PATIENCE)


NGINX = """
daemon off;
master_process off;
pid {directory}/pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{http};
    listen 127.0.0.1:{https} ssl;
    ssl_certificate {directory}/certificate.pem;
    ssl_certificate_key {directory}/key.pem;
    location / {{ proxy_pass http://127.0.0.1:{backend}; }}
  }}
}}
"""


@contextlib.contextmanager
def nginx(directory):
    http, https = free_port(), free_port()
    certificate = f"{directory}/certificate.pem"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
        "subjectAltName=IP:127.0.0.1", "-keyout", f"{directory}/key.pem", "-out", certificate, stderr=subprocess.DEVNULL)
    configuration = pathlib.Path(directory, "nginx.conf")
    configuration.write_text(NGINX.format(directory=directory, http=http, https=https, backend=backend()))
    with serving("nginx", https, "/usr/sbin/nginx", "-p", directory, "-c", configuration):
        yield [[f"http://127.0.0.1:{http}", certificate], [f"https://127.0.0.1:{https}", certificate]]


def hiredis_test_object():
    """hiredis' own test program from Debian's source package, with its main renamed; None if it is not available."""
    source, lists = OUT / "hiredis_source", OUT / "lists"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    source.mkdir(exist_ok=True)
    if not list(source.glob("*/test.c")):
        release = dict(line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().split("\n") if "=" in line)
        listed = OUT / "sources.list"
        listed.write_text("deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian "
                          f"{release['VERSION_CODENAME']} main\n")
        apt = ["apt-get", "-o", f"Dir::Etc::sourcelist={listed}", "-o", "Dir::Etc::sourceparts=-", "-o", f"Dir::State::lists={lists}"]
        try:
            with open(OUT / "source.log", "w") as log:
                run(*apt, "update", stdout=log, stderr=log, timeout=PATIENCE)
                run(*apt, "source", "--download-only", "hiredis", cwd=source, stdout=log, stderr=log, timeout=PATIENCE)
                run("tar", "-xf", next(source.glob("*.orig.tar.*")), "-C", source)
        except (subprocess.SubprocessError, OSError, StopIteration) as error:
            print(f"SKIPPED: hiredis' own tests: its source package cannot be had ({error})", flush=True)
            return None
    test = next(source.glob("*/test.c"))
    run("gcc", "-O1", "-w", "-Dmain=hiredis_tests", "-I", test.parent, "-c", test, "-o", OUT / "hiredis_test.o")
    return OUT / "hiredis_test.o"


# name: (server, compiler options after the source)
PROGRAMS = {
    "hiredis": (redis_port, ["-lhiredis"]),
    "hiredis_tests": (redis_both, ["-lhiredis"]),
    "libcurl": (nginx, ["-lcurl"]),
    "libpq": (postgresql, ["-I/usr/include/postgresql", "-lpq"]),
}


def build(name):
    """The program; None if it is not available."""
    flags = PROGRAMS[name][1]
    if name == "hiredis_tests":
        theirs = hiredis_test_object()
        if not theirs:
            return None
        flags = [str(theirs), *flags]
    run("g++", "-std=c++20", "-O1", "-pthread", "-Wall", "-Wextra", f"-I{os.environ.get('ROUSE_INCLUDE', 'include')}", "-Itests",
        f"{HERE}/{name}.cpp", *flags, "-o", OUT / name)
    return OUT / name


def test(name, program):
    """The number of runs that failed."""
    if not program:
        return 0
    server = PROGRAMS[name][0]
    failed = 0
    with tempfile.TemporaryDirectory() as directory, server(directory) as runs:
        for engine in ("io_uring", "epoll"):
            for arguments in runs:
                with open(OUT / f"{name}.{engine}.log", "w") if name == "hiredis_tests" else contextlib.nullcontext() as log:
                    result = subprocess.run([str(a) for a in (program, *arguments)], timeout=PATIENCE, stdout=log,
                                            env={**os.environ, "ROUSE_ENGINE": engine, "ROUSE_PROMISED_ENGINE": engine})
                if result.returncode != 0:
                    failed += 1
                    print(f"{name} on {engine} failed: {result.returncode}", flush=True)
                elif name == "hiredis_tests":
                    print(f"hiredis' own tests pass in a fiber on {engine}", flush=True)
    return failed


def main():
    os.chdir(ROOT)
    OUT.mkdir(parents=True, exist_ok=True)
    install_packages()
    names = sys.argv[1:] or list(PROGRAMS)
    with ThreadPoolExecutor(2) as pool:
        programs = list(pool.map(build, names))
    return sum(map(test, names, programs))


if __name__ == "__main__":
    sys.exit(main())
