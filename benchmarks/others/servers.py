"""PostgreSQL and Redis for one run: in a folder of their own, on a Unix socket, in their durable settings."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

POSTGRES_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",  # no checkpoint inside a run
    "listen_addresses": "",
}
REDIS_SETTINGS = {"appendonly": "yes", "appendfsync": "always", "save": "", "port": "0"}

_START_S = 20.0


class ServerMissing(RuntimeError):
    """Something that the comparison needs is not installed; the sentence says what to install."""


def postgres_folder() -> Path:
    """Where the newest PostgreSQL has its programs.

    Raises:
        ServerMissing: it is not installed.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if not found:
        raise ServerMissing("PostgreSQL is not installed; on Debian: apt-get install postgresql")
    return found[-1].parent


def redis_program() -> str:
    """The path of the Redis server.

    Raises:
        ServerMissing: it is not installed.
    """
    path = shutil.which("redis-server")
    if path is None:
        raise ServerMissing("Redis is not installed; on Debian: apt-get install redis-server")
    return path


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """A new PostgreSQL; how to connect to it."""
    programs = postgres_folder()
    with _folder() as folder, contextlib.ExitStack() as ends:
        user = _other_user(folder)
        data = folder / "data"
        subprocess.run(
            [programs / "initdb", "-D", data, "-A", "trust", "-U", "bench", "-E", "UTF8", "--locale", "C"],
            check=True,
            stdout=subprocess.DEVNULL,
            user=user,
        )
        settings = [f"--{name}={value}" for name, value in POSTGRES_SETTINGS.items()]
        ends.enter_context(
            _server(
                [str(programs / "postgres"), "-D", str(data), "-k", str(folder), *settings],
                ready=[str(programs / "pg_isready"), "-q", "-h", str(folder), "-U", "bench"],
                log=folder / "log",
                user=user,
                end=signal.SIGINT,
            )
        )
        yield f"host={folder} user=bench dbname=postgres"


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """A new Redis; its URL."""
    program = redis_program()
    with _folder() as folder:
        socket = folder / "redis.sock"
        settings = [word for name, value in REDIS_SETTINGS.items() for word in (f"--{name}", value)]
        with _server(
            [program, "--dir", str(folder), "--unixsocket", str(socket), *settings],
            ready=["test", "-S", str(socket)],
            log=folder / "log",
            user=None,
            end=signal.SIGTERM,
        ):
            yield f"unix://{socket}"


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fleetbell-other-") as name:
        yield Path(name)


def _other_user(folder: Path) -> str | None:
    """Whom PostgreSQL runs as: it refuses root."""
    if os.geteuid() != 0:
        return None
    names = [entry.pw_name for entry in pwd.getpwall()]
    name = "postgres" if "postgres" in names else "nobody"
    shutil.chown(folder, user=name)
    folder.chmod(0o755)
    return name


@contextlib.contextmanager
def _server(
    command: list[str], *, ready: list[str], log: Path, user: str | None, end: signal.Signals
) -> Iterator[None]:
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, user=user)
    try:
        deadline = time.monotonic() + _START_S
        while subprocess.run(ready, check=False).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start: {log.read_text()}")
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(end)
        process.wait()
