"""A receiver's certificate from a private CA, as an application has it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Files:
    """Where the PEM files are. The certificate's has its key in it."""

    ca: Path
    certificate: Path


def issued(folder: Path, *, name: str = "receiver") -> Files:
    """A new CA and what it issued for the loopback address."""
    authority = trustme.CA()
    files = Files(folder / f"{name}-ca.pem", folder / f"{name}.pem")
    authority.cert_pem.write_to_path(str(files.ca))
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(files.certificate))
    return files
