"""Certificates that an operator hands over as text: read, and checked before they are kept."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from fleetbell.domain.application import CallbackCa, ClientCertificate
from fleetbell.errors import CertificateInvalid
from fleetbell.ids import new_id

_PEM_LENGTH_MOST = 256 * 1024
_RSA_BITS_LEAST = 2048  # OpenSSL shows nothing weaker


def read_cas(application_id: str, pem_text: str, *, at_ms: int) -> tuple[CallbackCa, ...]:
    """The CAs in ``pem_text``.

    Raises:
        CertificateInvalid: one of them is unreadable, no CA, or expired.
    """
    return tuple(_ca(application_id, certificate, at_ms=at_ms) for certificate in _certificates(pem_text))


def read_client_certificate(
    application_id: str, certificate_pem: str, key_pem: str, *, at_ms: int
) -> ClientCertificate:
    """The certificate, with its chain behind it, and its key. Both texts may be one and the same.

    Raises:
        CertificateInvalid: unreadable, out of date, not for clients, too weak, or with another's key.
    """
    first, *chain = _certificates(certificate_pem)
    subject = first.subject.rfc4514_string()
    key = _key(key_pem)
    if _public_bytes(first) != _public_bytes(key):
        raise CertificateInvalid(
            f"the key is not the one of the certificate {subject!r}, which comes first in its text; "
            "send the key that the certificate was requested with"
        )
    _check_time(first, subject, at_ms=at_ms)
    _check_use(first, subject)
    _check_chain([first, *chain])
    return ClientCertificate(
        application_id=application_id,
        subject=subject,
        certificate_pem="".join(_pem(certificate) for certificate in (first, *chain)),
        key_pem=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        not_after_ms=_ms(first.not_valid_after_utc.timestamp()),
        set_at_ms=at_ms,
    )


def _certificates(pem_text: str) -> list[x509.Certificate]:
    if len(pem_text) > _PEM_LENGTH_MOST:
        raise CertificateInvalid(
            f"the text is longer than {_PEM_LENGTH_MOST} characters; send the CAs one by one"
        )
    try:
        return x509.load_pem_x509_certificates(pem_text.encode())
    except ValueError as error:
        raise CertificateInvalid(
            "the text holds no readable certificate; send PEM, which begins with -----BEGIN CERTIFICATE-----"
        ) from error


def _ca(application_id: str, certificate: x509.Certificate, *, at_ms: int) -> CallbackCa:
    subject = certificate.subject.rfc4514_string()
    not_after_ms = _ms(certificate.not_valid_after_utc.timestamp())
    if not _is_ca(certificate):
        raise CertificateInvalid(
            f"the certificate {subject!r} is no CA; send the CA that issued the callback server's certificate"
        )
    if not_after_ms <= at_ms:
        raise CertificateInvalid(
            f"the CA {subject!r} expired at {certificate.not_valid_after_utc.isoformat()}; send its successor"
        )
    return CallbackCa(
        ca_id=new_id("ca"),
        application_id=application_id,
        subject=subject,
        pem=_pem(certificate),
        not_after_ms=not_after_ms,
        added_at_ms=at_ms,
    )


def _is_ca(certificate: x509.Certificate) -> bool:
    """Whether its basic constraints say so. What cannot be read, or says nothing, is no CA."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False


def _key(pem_text: str) -> PrivateKeyTypes:
    try:
        key = load_pem_private_key(pem_text[:_PEM_LENGTH_MOST].encode(), password=None)
    except TypeError as error:
        raise CertificateInvalid(
            "the key is locked with a password; send it without one, as written by: openssl pkey -in KEY"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateInvalid(
            "the text holds no readable private key; send PEM, which begins with -----BEGIN PRIVATE KEY-----"
        ) from error
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < _RSA_BITS_LEAST:
        raise CertificateInvalid(
            f"an RSA key of {key.key_size} bits is too weak for TLS; take {_RSA_BITS_LEAST} bits or more"
        )
    return key


def _check_time(certificate: x509.Certificate, subject: str, *, at_ms: int) -> None:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if _ms(ends.timestamp()) <= at_ms:
        raise CertificateInvalid(
            f"the certificate {subject!r} expired at {ends.isoformat()}; send its successor"
        )
    if _ms(begins.timestamp()) > at_ms:
        raise CertificateInvalid(
            f"the certificate {subject!r} is valid only from {begins.isoformat()}; "
            "set it then, or check the clock of this machine"
        )


def _check_use(certificate: x509.Certificate, subject: str) -> None:
    try:
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return  # it may be used for anything
    except (x509.DuplicateExtension, ValueError) as error:
        raise CertificateInvalid(
            f"the extensions of the certificate {subject!r} cannot be read; have it issued anew"
        ) from error
    if not {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(uses):
        raise CertificateInvalid(
            f"the certificate {subject!r} is not for clients; "
            "have one issued whose extended key usage has clientAuth"
        )


def _check_chain(certificates: list[x509.Certificate]) -> None:
    for issued, issuer in zip(certificates, certificates[1:], strict=False):
        if issued.issuer != issuer.subject:
            raise CertificateInvalid(
                f"the certificate {issuer.subject.rfc4514_string()!r} did not issue the one before it; "
                "send the certificate first, then the CA that issued it, then that CA's issuer"
            )


def _public_bytes(holder: x509.Certificate | PrivateKeyTypes) -> bytes:
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _ms(timestamp_s: float) -> int:
    return round(timestamp_s * 1000)
