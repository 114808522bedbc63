"""A private certificate authority and the certificates it issues, for a platform that was given none."""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_AUTHORITY_DAYS = 3650
_SERVER_DAYS = 397  # what common clients accept at most
_RENEW_DAYS = 30  # a certificate with fewer days left is made anew at the next start


@dataclass(frozen=True, slots=True, repr=False)
class Issued:
    """A certificate and its key, both in PEM. Its ``repr`` does not show the key."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """What a TLS server reads, and the CA that its clients trust (None when the certificate was given)."""

    certificate: Path
    key: Path
    authority: Path | None


def new_authority(name: str) -> Issued:
    """A new certificate authority that may issue server certificates, and nothing below another authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        _begun(subject, subject, key.public_key(), days=_AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _issued(certificate, key)


def issue(authority: Issued, names: Sequence[str]) -> Issued:
    """A server certificate for these host names and addresses, signed by ``authority``."""
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    issuer_key = serialization.load_pem_private_key(authority.key, password=None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key is not an elliptic curve key")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    certificate = (
        _begun(subject, issuer.subject, key.public_key(), days=_SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
        .sign(issuer_key, hashes.SHA256())
    )
    return _issued(certificate, key)


def server_files(folder: Path, names: Sequence[str]) -> ServerFiles:
    """The certificate that this folder keeps for these names, made now when there is none that fits.

    The authority (``ca.pem``) is made once and stays, so that clients need to be told of it only once.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    authority_path, authority_key = folder / "ca.pem", folder / "ca.key"
    if not (authority_path.exists() and authority_key.exists()):
        _keep(new_authority("Fleetbell private CA"), authority_path, authority_key)
    certificate, key = folder / "server.pem", folder / "server.key"
    authority = Issued(authority_path.read_bytes(), authority_key.read_bytes())
    if not (certificate.exists() and key.exists() and _fits(certificate, authority, names)):
        _keep(issue(authority, names), certificate, key)
    return ServerFiles(certificate, key, authority_path)


def own_names(*hosts: str) -> list[str]:
    """The names that clients on this machine and in its network use, ``hosts`` (unless wildcards) among
    them.
    """
    names = [host for host in hosts if host not in ("", "0.0.0.0", "::")]  # noqa: S104 - compared, not bound
    names += ["localhost", "127.0.0.1", "::1", socket.gethostname()]
    return list(dict.fromkeys(name for name in names if name))


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # clocks differ
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _issued(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Issued:
    return Issued(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def _keep(issued: Issued, certificate: Path, key: Path) -> None:
    """Write the key first, readable by its owner only; each file is replaced as a whole."""
    for path, text in ((key, issued.key), (certificate, issued.certificate)):
        beside = path.with_suffix(".new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        beside.replace(path)


def _fits(path: Path, authority: Issued, names: Sequence[str]) -> bool:
    """Whether this certificate is the authority's, covers the names and is not about to end."""
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate))
    except (ValueError, InvalidSignature):
        return False
    covered = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    return left.days >= _RENEW_DAYS and all(_alternative(name) in covered for name in names)
