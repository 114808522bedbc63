"""A certificate for the fake platform's listener, made anew each time; its CA is the certificate itself."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

__all__ = ["write_certificate"]


def write_certificate(path: Path) -> None:
    """Write a key and a certificate for ``127.0.0.1`` and ``localhost`` to ``path``.

    Raises:
        ImportError: the package that makes them is not there.
    """
    try:
        from cryptography import x509  # noqa: PLC0415  (an extra)
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            "a fake platform with TLS needs the package cryptography; install fleetbell-sdk[testing]"
        ) from error
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fake platform")])
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
