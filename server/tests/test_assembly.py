"""A platform put together and serving: one per folder, all doors open, and an end when it is told to."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509

from fleetbell.assembly import (
    Addresses,
    AddressInUse,
    CertificateUnusable,
    FolderInUse,
    FolderUnusable,
    opened,
    serve,
)
from fleetbell.config import Devices, Northbound, Operator, Settings
from fleetbell.services.application import NewApplication

PATIENCE_S = 30.0

CHILD = """
import asyncio, dataclasses, json, pathlib, sys
from fleetbell.assembly import serve
from fleetbell.config import load

def ready(addresses):
    print(json.dumps(dataclasses.asdict(addresses), default=str), flush=True)

given = {"folder": pathlib.Path(sys.argv[1]), "northbound.host": "127.0.0.1", "northbound.port": 0,
         "devices.host": "127.0.0.1", "devices.https_port": 0, "devices.http_port": 0,
         "operator.port": 0}
given |= json.loads(sys.argv[2])
asyncio.run(serve(load(environment={}, command_line=given).settings, ready))
"""


def settings(folder: Path, *, port: int = 0) -> Settings:
    return Settings(
        folder=folder,
        northbound=Northbound(host="127.0.0.1", port=port),
        devices=Devices(host="127.0.0.1", https_port=0, http_port=0),
        operator=Operator(port=0),
    )


@contextlib.contextmanager
def serving(folder: Path, **more: object) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A platform in a process of its own, and its addresses."""
    arguments = [sys.executable, "-c", CHILD, str(folder), json.dumps(more)]
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        yield child, json.loads(child.stdout.readline())
    finally:
        child.kill()
        child.wait(PATIENCE_S)
        child.stdout.close()


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fb") / "data"  # a short path: a Unix socket lives in it


@pytest.fixture
def no_database(folder: Path) -> Path:
    """A folder where the database should be."""
    path = folder / "fleetbell.db"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def shopping_list(folder: Path) -> Path:
    """A text where the database should be."""
    folder.mkdir()
    path = folder / "fleetbell.db"
    path.write_text("my shopping list")
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_new_folder_is_for_its_owner_only(folder: Path) -> None:
    async with opened(settings(folder)):
        assert mode(folder) == 0o700


async def test_what_one_opening_kept_the_next_one_finds(folder: Path) -> None:
    async with opened(settings(folder)) as platform:
        made = await platform.services.applications.create("Water meters")
        assert isinstance(made, NewApplication)

    async with opened(settings(folder)) as platform:
        [found] = platform.services.applications.list()
    assert found.name == "Water meters"


async def test_a_folder_is_opened_once_at_a_time(folder: Path) -> None:
    async with opened(settings(folder)):
        with pytest.raises(FolderInUse, match="another fleetbell works on"):
            async with opened(settings(folder)):
                pass

    async with opened(settings(folder)):
        pass  # and again, once the first one is done


async def test_roles_that_differ_may_share_a_folder(folder: Path) -> None:
    doors = replace(settings(folder), roles=("doors",))
    dispatch = replace(settings(folder), roles=("dispatch",))

    async with opened(doors) as one, opened(dispatch) as other:
        await one.services.applications.create("Water meters")
        assert len(other.services.applications.list()) == 1


async def test_a_folder_that_could_not_be_opened_is_free_again(no_database: Path) -> None:
    folder = no_database.parent

    with pytest.raises(FolderUnusable, match="fleetbell.db cannot be used: unable to open"):
        async with opened(settings(folder)):
            pass

    shutil.rmtree(no_database)
    async with opened(settings(folder)):
        pass


def test_every_door_of_a_serving_platform_answers_and_sigterm_ends_it(folder: Path) -> None:
    with serving(folder) as (child, addresses):
        trust = ssl.create_default_context(cafile=addresses["authority"])
        for url in (addresses["northbound_url"], addresses["devices_https_url"]):
            assert url.startswith("https://127.0.0.1:")
            assert answer_of(url, trust) == 404
        assert answer_of(addresses["devices_http_url"]) == 404
        assert addresses["operator_url"].startswith("http://127.0.0.1:")
        assert answer_of(f"{addresses['operator_url']}/api/v1/health") == 401
        assert health(Path(addresses["operator_socket"])) == 200
        assert mode(Path(addresses["operator_socket"])) == 0o600

        child.send_signal(signal.SIGTERM)

        assert child.wait(PATIENCE_S) == 0
    assert not Path(addresses["operator_socket"]).exists()


def test_a_serving_platform_is_ready_and_counts_what_each_door_answered(folder: Path) -> None:
    with serving(folder) as (_, addresses):
        url = addresses["operator_url"]
        for path in ("/health/live", "/health/ready"):
            with urllib.request.urlopen(url + path, timeout=PATIENCE_S) as reply:
                assert reply.status == 200
        for _ in range(3):
            assert answer_of(addresses["devices_http_url"]) == 404
        with urllib.request.urlopen(f"{url}/metrics", timeout=PATIENCE_S) as reply:
            lines = reply.read().decode().splitlines()

    assert 'fleetbell_http_requests_total{door="devices",status="4xx"} 3.0' in lines
    assert 'fleetbell_http_requests_total{door="operator",status="2xx"} 2.0' in lines
    assert 'fleetbell_http_requests_total{door="northbound",status="2xx"} 0.0' in lines


def test_ctrl_c_ends_it_too(folder: Path) -> None:
    with serving(folder) as (child, _):
        child.send_signal(signal.SIGINT)

        assert child.wait(PATIENCE_S) == 0


def test_a_client_that_keeps_its_connection_does_not_keep_the_platform_from_stopping(folder: Path) -> None:
    with serving(folder) as (child, addresses):
        host, port = addresses["devices_http_url"].removeprefix("http://").split(":")
        connection = HTTPConnection(host, int(port), timeout=PATIENCE_S)
        connection.request("GET", "/")
        connection.getresponse().read()

        child.send_signal(signal.SIGTERM)

        assert child.wait(PATIENCE_S) == 0
        connection.close()


def test_after_a_kill_the_next_start_takes_the_folder_over(folder: Path) -> None:
    with serving(folder) as (child, before):
        child.kill()
        child.wait(PATIENCE_S)
        assert Path(before["operator_socket"]).exists()  # what a killed server leaves

        with serving(folder) as (_, addresses):
            assert health(Path(addresses["operator_socket"])) == 200


def test_what_a_kill_left_of_an_upload_is_gone_after_the_next_start(folder: Path) -> None:
    with serving(folder):
        pass
    (folder / "packages" / "pkg-without-a-row").write_bytes(b"kept, and then the power went")
    (folder / "packages" / "0123.part").write_bytes(b"half of a file")

    with serving(folder):
        assert list((folder / "packages").iterdir()) == []


def test_a_sender_that_starts_beside_the_doors_leaves_their_uploads_alone(folder: Path) -> None:
    with serving(folder, roles=["doors"]):
        upload = folder / "packages" / "0123.part"
        upload.write_bytes(b"on its way in")

        with serving(folder, roles=["dispatch"]):
            assert upload.exists()


def test_doors_and_dispatch_run_as_two_processes(folder: Path) -> None:
    with serving(folder, roles=["doors"]) as (_, doors), serving(folder, roles=["dispatch"]) as (_, sender):
        assert health(Path(doors["operator_socket"])) == 200
        assert sender["northbound_url"] is None


def test_a_certificate_that_was_given_is_used_and_no_authority_is_named(folder: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "other") as (_, addresses):
        made = Path(addresses["authority"]).parent
        given = {
            f"{door}.{part}": str(made / f"server.{ending}")
            for door in ("northbound", "devices", "operator")
            for part, ending in (("certificate", "pem"), ("key", "key"))
        }
        with serving(folder, **given) as (_, own):
            assert own["authority"] is None
            assert not (folder / "tls").exists()
            trust = ssl.create_default_context(cafile=made / "ca.pem")
            assert answer_of(own["northbound_url"], trust) == 404
            assert own["operator_url"].startswith("https://")
            assert answer_of(f"{own['operator_url']}/api/v1/health", trust) == 401


def test_the_certificate_that_is_made_has_the_names_of_the_public_urls(folder: Path) -> None:
    urls = {
        "northbound.public_url": "https://api.example.com",
        "devices.public_url": "https://fleet.example.com",
    }
    with serving(folder, **urls) as (_, addresses):
        authority = Path(addresses["authority"])

    certificate = x509.load_pem_x509_certificate((authority.parent / "server.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"api.example.com", "fleet.example.com"} <= set(names.get_values_for_type(x509.DNSName))


async def test_an_address_in_use_is_told_in_a_sentence_and_lets_the_folder_go(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = f"^cannot listen on 127.0.0.1 port {port}: Address already in use; .* northbound.port$"
        with pytest.raises(AddressInUse, match=said):
            await serve(settings(folder, port=port), _never)

    async with opened(settings(folder)):
        pass
    assert not (folder / "operator.sock").exists()


async def test_a_folder_that_cannot_be_made_is_told_in_a_sentence() -> None:
    with pytest.raises(FolderUnusable, match=r"^the data folder /proc/none .* with --folder$"):
        async with opened(settings(Path("/proc/none"))):
            pass


async def test_a_file_that_is_no_database_is_told_in_a_sentence(shopping_list: Path) -> None:
    with pytest.raises(FolderUnusable, match="fleetbell.db cannot be used: file is not a database"):
        async with opened(settings(shopping_list.parent)):
            pass


async def test_a_certificate_that_cannot_be_used_is_told_with_the_file_and_the_reason(
    folder: Path, tmp_path: Path
) -> None:
    one, other = (trustme.CA().issue_cert("localhost") for _ in range(2))
    certificate, key, prose = tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "prose"
    one.cert_chain_pems[0].write_to_path(certificate)
    other.private_key_pem.write_to_path(key)
    prose.write_text("no certificate")

    for given, reason in (
        ((tmp_path / "none", key), "none: No such file"),
        ((prose, key), "prose is not PEM"),
        ((certificate, key), "they do not belong together"),
    ):
        wanted = replace(settings(folder).northbound, certificate=given[0], key=given[1])
        with pytest.raises(CertificateUnusable, match=reason):
            await serve(replace(settings(folder), northbound=wanted), _never)


async def test_a_folder_in_use_is_told_before_anything_listens(folder: Path) -> None:
    async with opened(settings(folder)):
        with pytest.raises(FolderInUse):
            await serve(settings(folder), _never)


def _never(_addresses: Addresses) -> None:
    raise AssertionError("it must not come so far")


def answer_of(url: str, trust: ssl.SSLContext | None = None) -> int:
    """The status of an address that is nobody's."""
    try:
        with urllib.request.urlopen(f"{url}/no-such-thing", context=trust, timeout=PATIENCE_S) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def health(path: Path) -> int:
    """The operator's door, asked over its Unix socket."""
    connection = HTTPConnection("operator", timeout=PATIENCE_S)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(PATIENCE_S)
    connection.sock.connect(str(path))
    try:
        connection.request("GET", "/api/v1/health")
        return connection.getresponse().status
    finally:
        connection.close()
