"""Which certificate authorities count, as files: libcurl parses a file once, but bytes for each connection.

Measured with the system's list of some 150 CAs: a new connection took 2.5 ms with a file and 10 to 12 ms with
the same list handed over as bytes.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Sequence
from pathlib import Path

# Where Debian, Fedora, SUSE and Alpine keep their list.
_SYSTEM_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def system_ca_file() -> Path | None:
    """The system's list of CAs; ``SSL_CERT_FILE`` names another one. None when the system has no list."""
    candidates = (Path(name) for name in (ssl.get_default_verify_paths().cafile, *_SYSTEM_FILES) if name)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def trust_file(folder: Path, system: Path | None, pems: Sequence[str]) -> Path:
    """A file in ``folder`` with the CAs of ``system`` and of ``pems``, named after what is in it."""
    parts = [system.read_text("utf-8", "replace")] if system is not None else []
    text = "\n".join([*parts, *pems, ""]).encode()
    path = folder / f"{hashlib.sha256(text).hexdigest()[:32]}.pem"
    if path.is_file() and path.read_bytes() == text:
        return path
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_bytes(text)
    draft.replace(path)
    return path
