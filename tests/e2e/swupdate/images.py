"""Images for a real SWUpdate agent: signed archives that install, and archives that fail on purpose.

An image is a cpio archive (format ``crc``) whose first entries are ``sw-description`` and its signature;
Debian's SWUpdate takes nothing unsigned. A good image writes one file, which the test can look at.
"""

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from pathlib import Path
from typing import BinaryIO, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7Options, PKCS7SignatureBuilder
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HARDWARE = "fleetbell-test:1.0"  # board and revision; Debian's build installs only what names its hardware
_BLOCK = bytes(range(256)) * 256
_REFUSING_SCRIPT = b'#!/bin/sh\necho "this image refuses to be installed" >&2\nexit 1\n'


class Failure(Enum):
    """Why an image cannot be installed; either way the agent has downloaded all of it."""

    SCRIPT = auto()  # a script, run before anything is written, ends with 1
    HASH = auto()  # the payload is not the one that was signed


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs images: a key, and the self-signed certificate that the agent is told to trust."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def fresh(cls) -> Self:
        """A new key with a certificate for e-mail protection, the purpose that SWUpdate asks for."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Image signer")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_signing_only(), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    def write_certificate(self, path: Path) -> Path:
        """Write the certificate where an agent can read it, and return the path."""
        path.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        return path

    def signature(self, content: bytes) -> bytes:
        """A detached CMS signature of ``content``."""
        builder = PKCS7SignatureBuilder().set_data(content)
        builder = builder.add_signer(self.certificate, self.key, hashes.SHA256())
        return builder.sign(
            Encoding.DER, [PKCS7Options.DetachedSignature, PKCS7Options.Binary, PKCS7Options.NoCapabilities]
        )


def good_image(path: Path, *, size_bytes: int, signer: Signer, installs: Path, version: str = "2.0") -> Path:
    """Write an image that puts a payload of ``size_bytes`` (at least one) into the file ``installs``."""
    digest = _payload_sha256(version, size_bytes)
    description = _description(version, _payload_entry(installs, digest))
    return _write(path, description, signer, version, size_bytes)


def failing_image(
    path: Path,
    *,
    size_bytes: int,
    signer: Signer,
    installs: Path,
    version: str = "2.0",
    failure: Failure = Failure.SCRIPT,
) -> Path:
    """Write a properly signed image that downloads well and never installs."""
    digest = _payload_sha256(version, size_bytes)
    match failure:
        case Failure.SCRIPT:
            script_digest = hashlib.sha256(_REFUSING_SCRIPT).hexdigest()
            script = {"filename": "refuse.sh", "type": "shellscript", "sha256": script_digest}
            description = _description(version, _payload_entry(installs, digest), scripts=[script])
            return _write(path, description, signer, version, size_bytes, {"refuse.sh": _REFUSING_SCRIPT})
        case Failure.HASH:
            other = hashlib.sha256(b"another payload").hexdigest()
            description = _description(version, _payload_entry(installs, other))
            return _write(path, description, signer, version, size_bytes)


def payload(version: str, size_bytes: int) -> Iterator[bytes]:
    """What an image of this version installs, in pieces: the version, then a pattern."""
    head = f"version {version}\n".encode()[:size_bytes]
    yield head
    left = size_bytes - len(head)
    while left:
        piece = _BLOCK[:left]
        yield piece
        left -= len(piece)


def _signing_only() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,  # the certificate has signed itself
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _payload_sha256(version: str, size_bytes: int) -> str:
    digest = hashlib.sha256()
    for piece in payload(version, size_bytes):
        digest.update(piece)
    return digest.hexdigest()


def _payload_entry(installs: Path, digest: str) -> dict[str, object]:
    return {
        "filename": "payload.bin",
        "path": str(installs),
        "properties": {"create-destination": "true"},
        "sha256": digest,
    }


def _description(
    version: str, payload_entry: dict[str, object], scripts: list[dict[str, str]] | None = None
) -> bytes:
    software: dict[str, object] = {"version": version, "hardware-compatibility": [HARDWARE.split(":")[1]]}
    if scripts:
        software["scripts"] = scripts
    software["files"] = [payload_entry]
    return json.dumps({"software": software}).encode()


def _write(
    path: Path,
    description: bytes,
    signer: Signer,
    version: str,
    size_bytes: int,
    extra: dict[str, bytes] | None = None,
) -> Path:
    with path.open("wb") as file:
        archive = _Archive(file)
        archive.add("sw-description", description)
        archive.add("sw-description.sig", signer.signature(description))
        for name, content in (extra or {}).items():
            archive.add(name, content)
        checksum = sum(sum(piece) for piece in payload(version, size_bytes))
        archive.add_pieces("payload.bin", size_bytes, checksum, payload(version, size_bytes))
        archive.end()
    return path


class _Archive:
    """A cpio archive in the format ``crc``: like ``newc``, with the sum of the bytes of each file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inode = 0

    def add(self, name: str, content: bytes) -> None:
        self.add_pieces(name, len(content), sum(content), iter((content,)))

    def add_pieces(self, name: str, size_bytes: int, checksum: int, pieces: Iterator[bytes]) -> None:
        self._inode += 1
        self._header(name, mode=0o100644, inode=self._inode, size_bytes=size_bytes, checksum=checksum)
        for piece in pieces:
            self._file.write(piece)
        self._pad(4)

    def end(self) -> None:
        self._header("TRAILER!!!", mode=0, inode=0, size_bytes=0, checksum=0)
        self._pad(512)

    def _header(self, name: str, *, mode: int, inode: int, size_bytes: int, checksum: int) -> None:
        entry = name.encode() + b"\0"
        # inode, mode, uid, gid, links, time, size, device (2), special device (2), name size, sum
        numbers = (inode, mode, 0, 0, 1, 0, size_bytes, 0, 0, 0, 0, len(entry), checksum & 0xFFFFFFFF)
        self._file.write(b"070702" + "".join(f"{number:08x}" for number in numbers).encode() + entry)
        self._pad(4)

    def _pad(self, to: int) -> None:
        self._file.write(b"\0" * (-self._file.seek(0, io.SEEK_CUR) % to))
