"""What is said when a platform is not reached: which address, what was wrong, and what to do."""

import asyncio
import io
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme

from fleetbell_sdk import AsyncClient, Client, ConnectionFailed, Receiver, legacy
from fleetbell_sdk.connection import failure
from fleetbell_sdk.frameworks.standalone import serve

AUTHORITY = trustme.CA()
OTHER_AUTHORITY = trustme.CA()


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(str(path))
    return path


@contextmanager
def listening(tmp_path: Path, certificate: trustme.LeafCert | None) -> Iterator[int]:
    """The port of something that listens with this certificate, or without TLS."""
    pem = tmp_path / "server.pem"
    if certificate is not None:
        certificate.private_key_and_cert_chain_pem.write_to_path(str(pem))
    with serve(
        Receiver.unsigned(), "127.0.0.1", 0, pem if certificate else None, plain_http=certificate is None
    ) as server:
        yield server.port


def blocking(url: str, ca_file: Path) -> None:
    with Client(url, "app-0001", "s3cret", ca=ca_file) as client:
        client.login()


def asynchronous(url: str, ca_file: Path) -> None:
    async def login() -> None:
        async with AsyncClient(url, "app-0001", "s3cret", ca=ca_file) as client:
            await client.login()

    asyncio.run(login())


def old(url: str, ca_file: Path) -> None:
    host, _, port = url.removeprefix("https://").partition(":")
    legacy.Authentication().getAuthToken(
        {
            "platformIp": host,
            "platformPort": port,
            "appId": "app-0001",
            "secret": "s3cret",
            "caFile": str(ca_file),
        }
    )


Login = Callable[[str, Path], None]
EVERY_WAY = pytest.mark.parametrize("login", [blocking, asynchronous, old])


def told(login: Login, url: str, ca_file: Path) -> str:
    with pytest.raises(ConnectionFailed, match="^POST /iocm/app/sec/v1.1.0/login: ") as caught:
        login(url, ca_file)
    assert url in str(caught.value)
    return str(caught.value)


@EVERY_WAY
def test_an_unknown_authority_leads_to_the_platforms_ca_file(
    login: Login, tmp_path: Path, ca_file: Path
) -> None:
    with listening(tmp_path, OTHER_AUTHORITY.issue_cert("127.0.0.1")) as port:
        text = told(login, f"https://127.0.0.1:{port}", ca_file)
    assert "name the CA file that the platform shows when it starts" in text


@EVERY_WAY
def test_an_expired_certificate_is_said_to_need_a_new_one(
    login: Login, tmp_path: Path, ca_file: Path
) -> None:
    long_ago = datetime(2001, 1, 1, tzinfo=UTC), datetime(2002, 1, 1, tzinfo=UTC)
    expired = AUTHORITY.issue_cert("127.0.0.1", not_before=long_ago[0], not_after=long_ago[1])
    with listening(tmp_path, expired) as port:
        text = told(login, f"https://127.0.0.1:{port}", ca_file)
    assert "expired; give the platform a new one" in text


@EVERY_WAY
def test_a_certificate_for_another_host_leads_to_its_name(
    login: Login, tmp_path: Path, ca_file: Path
) -> None:
    with listening(tmp_path, AUTHORITY.issue_cert("platform.example")) as port:
        text = told(login, f"https://127.0.0.1:{port}", ca_file)
    assert "use a host that the certificate names" in text


@EVERY_WAY
def test_a_port_without_tls_leads_to_port_and_scheme(login: Login, tmp_path: Path, ca_file: Path) -> None:
    with listening(tmp_path, None) as port:
        text = told(login, f"https://127.0.0.1:{port}", ca_file)
    assert "does not speak TLS; check the port" in text


@EVERY_WAY
def test_a_port_where_nobody_is_leads_to_host_and_port(login: Login, ca_file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    text = told(login, f"https://127.0.0.1:{port}", ca_file)
    assert "check host and port" in text


def test_plain_http_to_a_tls_port_leads_to_the_scheme(tmp_path: Path, ca_file: Path) -> None:
    with listening(tmp_path, AUTHORITY.issue_cert("127.0.0.1")) as port:
        text = told(blocking, f"http://127.0.0.1:{port}", ca_file)
    assert text.endswith("check whether the URL should be https")


def test_a_host_that_no_name_server_knows_leads_to_its_spelling() -> None:
    error = httpx2.ConnectError("", request=httpx2.Request("GET", "https://platfrom.example:8743/x"))
    error.__cause__ = socket.gaierror(-2, "Name or service not known")

    assert str(failure(error, "GET /x")) == (
        "GET /x: the host of https://platfrom.example:8743 was not found (Name or service not known);"
        " check its spelling"
    )


@pytest.mark.parametrize("login", [blocking, old])
def test_a_ca_file_that_is_not_there_or_has_no_certificate_is_named(login: Login, tmp_path: Path) -> None:
    missing, empty = tmp_path / "missing.pem", tmp_path / "empty.pem"
    empty.write_text("not a certificate")

    for path in (missing, empty):
        with pytest.raises(OSError, match=f"the CA file cannot be used.*{re.escape(os.fspath(path))}"):
            login("https://127.0.0.1:1", path)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8743",
        "ftp://127.0.0.1",
        "https://",
        "https://h:87x3",
        "https://h:87430",
        "https://h:0",
        "https://[::1",
    ],
)
def test_a_url_that_cannot_be_is_refused_with_one_that_can(
    kind: type[Client | AsyncClient], url: str
) -> None:
    with pytest.raises(
        ValueError, match=f"such as https://platform.example:8743, not {re.escape(repr(url))}"
    ):
        kind(url, "app-0001", "s3cret")


@pytest.mark.parametrize(("host", "port"), [("https://127.0.0.1", "8743"), ("127.0.0.1", "87x3")])
def test_an_address_that_cannot_be_is_refused_in_old_settings(host: str, port: str) -> None:
    info = {"platformIp": host, "platformPort": port, "appId": "app-0001", "secret": "s3cret"}

    with pytest.raises(ValueError, match="platformIp and platformPort are such as 10.0.0.1 and 8743, not"):
        legacy.Authentication().getAuthToken(info)


def test_a_client_that_was_closed_says_so_as_any_failed_call_does() -> None:
    client = Client("http://127.0.0.1:1", "app-0001", "s3cret")
    client.close()

    with pytest.raises(ConnectionFailed, match="POST .*/login: the client was closed") as caught:
        client.task("op-1")
    assert caught.value.is_lasting


async def test_an_asynchronous_client_that_was_closed_says_so_too() -> None:
    client = AsyncClient("http://127.0.0.1:1", "app-0001", "s3cret")
    await client.close()

    with pytest.raises(ConnectionFailed, match="POST .*/login: the client was closed"):
        await client.task("op-1")


def test_an_authority_that_is_none_is_refused_rather_than_passed_over() -> None:
    given: dict[Any, type[Exception]] = {"": ValueError, False: TypeError, "-----BEGIN no more": OSError}
    for ca, kind in given.items():
        with pytest.raises(kind, match="^ca is "):
            Client("https://platform.example:8743", "app-0001", "s3cret", ca=ca)


@pytest.mark.parametrize("package", [b"firmware", io.StringIO("firmware")])
def test_a_package_that_is_no_file_of_bytes_is_refused_before_anything_is_sent(package: Any) -> None:
    with (
        Client("http://127.0.0.1:1", "app-0001", "s3cret") as client,
        pytest.raises(TypeError, match=r"such as open\(path, 'rb'\)"),
    ):
        client.upload_package(package, file_type="firmwarePackage", version="1")


def test_a_setting_that_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="^platformPort, secret missing in clientInfo"):
        legacy.Authentication().getAuthToken({"platformIp": "127.0.0.1", "appId": "app-0001"})


def test_a_file_of_settings_without_the_section_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "application.ini"
    path.write_text("[OTHER]\nappId = app-0001\n")
    monkeypatch.setenv("FLEETBELL_APPLICATION_INI", str(path))

    with pytest.raises(ValueError, match=f"{re.escape(str(path))} has no section"):
        legacy.Constant().clientInfo()
