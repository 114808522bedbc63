"""A receiver at the speed of C: nginx with one worker that answers every POST with 200."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme

_CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 2048; }}
http {{
    log_format connections '$server_protocol $connection';
    access_log {access_log};
    keepalive_requests {keepalive_requests};
    keepalive_timeout 300s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_body_buffer_size 64k;
    server {{
        listen 127.0.0.1:{port} {listen};
        {tls}
        location / {{ return 200 "ok"; }}
    }}
}}
"""
_TLS = """
        ssl_certificate {folder}/server.pem;
        ssl_certificate_key {folder}/server.key;
        ssl_session_cache shared:tls:1m;
"""
_START_S = 10.0


class SinkMissing(RuntimeError):
    """There is no nginx on this machine."""


@dataclass(frozen=True, slots=True)
class Sink:
    """A running sink: where to post, the CA that its certificate is from, and where it writes."""

    url: str
    ca_pem: str
    folder: Path
    pid: int


def nginx() -> str:
    """The path of nginx.

    Raises:
        SinkMissing: it is not installed.
    """
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise SinkMissing("nginx is not installed; on Debian: apt-get install nginx-light")
    return path


@contextlib.contextmanager
def running(
    *, tls: bool = True, http2: bool = False, log: bool = False, keepalive_requests: int = 100_000_000
) -> Iterator[Sink]:
    """Start nginx on a free port of 127.0.0.1 in a folder of its own; it ends with the block.

    With ``log``, ``access.log`` in the sink's folder has protocol and connection number of each POST.

    Raises:
        SinkMissing: nginx is not installed.
        RuntimeError: it did not start; the text is nginx's.
    """
    program = nginx()
    authority = trustme.CA()
    with tempfile.TemporaryDirectory(prefix="fleetbell-sink-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx started as root works as another user
        port = _free_port()
        _write_certificate(folder, authority)
        configuration = folder / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                folder=folder,
                port=port,
                keepalive_requests=keepalive_requests,
                access_log=f"{folder}/access.log connections" if log else "off",
                listen=("ssl http2" if http2 else "ssl") if tls else "",
                tls=_TLS.format(folder=folder) if tls else "",
            )
        )
        process = subprocess.Popen(
            [program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_until_open(process, port, folder)
            scheme = "https" if tls else "http"
            yield Sink(
                url=f"{scheme}://127.0.0.1:{port}/receiver",
                ca_pem=authority.cert_pem.bytes().decode(),
                folder=folder,
                pid=process.pid,
            )
        finally:
            process.terminate()
            process.wait()


def _write_certificate(folder: Path, authority: trustme.CA) -> None:
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    (folder / "server.pem").write_bytes(b"".join(part.bytes() for part in certificate.cert_chain_pems))
    (folder / "server.key").write_bytes(certificate.private_key_pem.bytes())


def _free_port() -> int:
    """A port that was free a moment ago; nginx cannot choose one itself and tell."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _wait_until_open(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    log = folder / "error.log"
    raise RuntimeError(f"nginx did not start: {log.read_text() if log.exists() else 'no log'}")
