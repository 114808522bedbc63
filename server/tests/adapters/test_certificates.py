"""The private CA: its certificates are accepted where they should be, and stay as long as they can."""

from __future__ import annotations

import datetime
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from fleetbell.adapters import certificates
from fleetbell.adapters.certificates import (
    Issued,
    ServerFiles,
    issue,
    new_authority,
    own_names,
    server_files,
)

NAMES = ["fleet.example.com", "127.0.0.1", "::1"]


def bytes_of(files: ServerFiles) -> tuple[bytes, bytes]:
    return files.certificate.read_bytes(), files.key.read_bytes()


def loaded(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


@contextmanager
def tls_server(files: ServerFiles) -> Iterator[int]:
    """A server that shakes hands over loopback, again and again; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(sock, server_side=True) as tls:
                    tls.sendall(b"hello")
            except OSError:
                sock.close()  # the client did not like us

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def greeting(port: int, name: str, authority: Path) -> bytes:
    """What the server says to a strict client that trusts ``authority`` and knows it by ``name``."""
    context = ssl.create_default_context(cafile=str(authority))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as sock,
        context.wrap_socket(sock, server_hostname=name) as tls,
    ):
        return tls.recv(16)


def test_a_client_that_trusts_the_authority_accepts_every_name_and_address(tmp_path: Path) -> None:
    files = server_files(tmp_path / "tls", NAMES)
    assert files.authority is not None

    with tls_server(files) as port:
        assert [greeting(port, name, files.authority) for name in NAMES] == [b"hello"] * 3


def test_another_name_and_another_authority_are_not_accepted(tmp_path: Path) -> None:
    files = server_files(tmp_path / "tls", NAMES)
    other = server_files(tmp_path / "other", NAMES)
    assert files.authority is not None
    assert other.authority is not None

    with tls_server(files) as port:
        with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
            greeting(port, "other.example.com", files.authority)
        with pytest.raises(ssl.SSLCertVerificationError):
            greeting(port, NAMES[0], other.authority)


def test_everything_is_kept_across_starts(tmp_path: Path) -> None:
    first = server_files(tmp_path / "tls", NAMES)
    before = bytes_of(first)

    again = server_files(tmp_path / "tls", list(reversed(NAMES)))

    assert again == first
    assert bytes_of(again) == before


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    server_files(tmp_path / "tls", NAMES)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "tls").iterdir()}
    assert modes == {"ca.pem": 0o600, "ca.key": 0o600, "server.pem": 0o600, "server.key": 0o600}
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700


def test_a_new_name_brings_a_new_certificate_from_the_same_authority(tmp_path: Path) -> None:
    first = server_files(tmp_path / "tls", NAMES)
    assert first.authority is not None
    authority, before = first.authority.read_bytes(), bytes_of(first)

    again = server_files(tmp_path / "tls", [*NAMES, "new.example.com"])

    assert again.authority is not None
    assert again.authority.read_bytes() == authority
    assert bytes_of(again) != before
    with tls_server(again) as port:
        assert greeting(port, "new.example.com", again.authority) == b"hello"


@pytest.mark.parametrize(("days_left", "remade"), [(29, True), (31, False)])
def test_a_certificate_is_remade_when_its_end_is_near(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days_left: int, remade: bool
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(certificates, "_SERVER_DAYS", days_left)
        before = bytes_of(server_files(tmp_path / "tls", NAMES))

    assert (bytes_of(server_files(tmp_path / "tls", NAMES)) != before) is remade


def test_a_new_authority_brings_a_new_certificate(tmp_path: Path) -> None:
    files = server_files(tmp_path / "tls", NAMES)
    assert files.authority is not None
    files.authority.unlink()

    server_files(tmp_path / "tls", NAMES)

    with tls_server(files) as port:
        assert greeting(port, NAMES[0], files.authority) == b"hello"


def test_a_start_that_was_cut_off_between_key_and_certificate_is_made_good(tmp_path: Path) -> None:
    files = server_files(tmp_path / "tls", NAMES)
    assert files.authority is not None
    files.certificate.unlink()
    files.key.write_bytes(issue(new_authority("another"), NAMES).key)

    server_files(tmp_path / "tls", NAMES)

    with tls_server(files) as port:
        assert greeting(port, NAMES[0], files.authority) == b"hello"


def test_an_authority_signs_servers_only_and_no_server_is_an_authority(tmp_path: Path) -> None:
    files = server_files(tmp_path / "tls", NAMES)
    assert files.authority is not None
    authority, server = loaded(files.authority), loaded(files.certificate)

    limits = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (limits.critical, limits.value.ca, limits.value.path_length) == (True, True, 0)
    assert not server.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = server.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [each.dotted_string for each in usage] == ["1.3.6.1.5.5.7.3.1"]
    days = server.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert days < datetime.timedelta(days=398)


def test_what_was_issued_does_not_show_its_key() -> None:
    assert "PRIVATE" not in repr(new_authority("a CA"))


def test_an_authority_with_another_kind_of_key_is_refused() -> None:

    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

    with pytest.raises(TypeError, match="elliptic curve"):
        issue(Issued(new_authority("a CA").certificate, pem), NAMES)


def test_the_own_names_are_those_that_clients_here_use() -> None:
    names = own_names("0.0.0.0", "fleet.example.com", "::", "localhost")

    assert names[:4] == ["fleet.example.com", "localhost", "127.0.0.1", "::1"]
    assert socket.gethostname() in names
    assert len(names) == len(set(names))


def test_a_file_that_is_no_certificate_of_ours_is_replaced(tmp_path: Path) -> None:
    files = server_files(tmp_path / "tls", NAMES)
    assert files.authority is not None
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stranger")])
    now = datetime.datetime.now(datetime.UTC)
    stranger = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=100))
        .sign(key, hashes.SHA256())
    )

    files.certificate.write_bytes(stranger.public_bytes(serialization.Encoding.PEM))

    server_files(tmp_path / "tls", NAMES)

    with tls_server(files) as port:
        assert greeting(port, NAMES[0], files.authority) == b"hello"
