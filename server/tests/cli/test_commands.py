from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
import trustme
from rich.console import Console

from fleetbell.cli import groups, packages
from fleetbell.cli.commands import reference, run
from fleetbell.cli.demo.application import Application
from fleetbell.cli.demo.books import SOFTWARE
from fleetbell.services.application import Applications
from fleetbell_sdk import Client, ConnectionFailed, Context, Receiver, SoftwareStateChanged
from fleetbell_sdk.frameworks.standalone import serve
from server.tests.adapters.peers import a_demanding_context, a_strict_server
from server.tests.cli.conftest import Shell

PAGE = Path(__file__).parents[3] / "docs/reference/cli.md"


@pytest.fixture
def server(shell: Shell) -> Iterator[dict[str, str]]:
    """A platform that runs on the shell's folder: where it listens."""
    settings = (
        "northbound.host=127.0.0.1",
        "devices.host=127.0.0.1",
        "devices.https_port=0",
        "operator.port=0",
    )
    sets = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "fleetbell", "serve", "--dev", "--json", "--port", "0", *sets]
    command += ["--set", "devices.http_port=0", "--folder", str(shell.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_fleet_is_set_up_without_a_running_platform(shell: Shell, tmp_path: Path) -> None:
    app = shell.json("app create", "Water meters")
    device = shell.json("device add meter-1")
    (tmp_path / "app.bin").write_bytes(b"bytes")
    package = shell.json("package upload --version 2.0", str(tmp_path / "app.bin"))
    [task] = shell.json("task create --all", package["file_id"])

    assert app["signing_secret"].startswith("whsec_")
    assert device["application_id"] == app["application"]["application_id"]
    assert task["tally"]["wait"] == 1
    assert "software 2.0 (not begun, fails in 23 h)" in shell("device show meter-1")
    assert "software 2.0 (not begun, fails in 23 h)" in shell("device list")
    assert task["operation_id"] in shell("task list")
    assert "app.bin" in shell("package list")


def test_that_a_platform_is_new_and_where_is_said_beside_the_result(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []
    for name in ("one", "two"):
        assert run(["app", "create", name, "--json", "--folder", str(shell.folder)]) == 0
        told.append(capsys.readouterr())

    assert told[0].err.replace("\n", "") == f"A new platform was made in {shell.folder}."
    assert "new platform" not in told[1].err
    assert all("login_secret" in json.loads(each.out) for each in told)


def test_the_same_commands_reach_a_running_platform(shell: Shell, server: dict[str, str]) -> None:
    app = shell.json("app create", "Water meters")
    shell("device add meter-1")

    assert [each["node_id"] for each in shell.json("device list")] == ["meter-1"]
    assert [each["application_id"] for each in shell.json("app list")] == [
        app["application"]["application_id"]
    ]
    assert server["northbound_url"].startswith("https://127.0.0.1:")
    assert Path(server["ca_file"]).exists()


def test_a_token_of_the_command_line_opens_the_api_over_tcp_until_it_is_deleted(
    shell: Shell, server: dict[str, str]
) -> None:
    app = shell.json("app create", "Water meters")["application"]["application_id"]
    token = shell("token create grafana --days 30").strip()
    own = shell.json("token create reports --app", app)

    def status(shown: str) -> int:
        headers = {"Authorization": f"Bearer {shown}"}
        return httpx2.get(f"{server['operator_url']}/api/v1/applications", headers=headers).status_code

    assert (status(token), status(own["token"]), status("wrong")) == (200, 200, 401)
    listed = shell("token list")
    assert "grafana" in listed
    assert app in listed
    assert token not in listed
    shell("token delete", own["details"]["token_id"])
    assert status(own["token"]) == 401
    assert "there is no token" in shell("token delete", own["details"]["token_id"], code=1)


def test_only_one_platform_runs_on_a_folder(shell: Shell, server: dict[str, str]) -> None:
    said = shell("serve", code=1)

    assert "another fleetbell works on" in said
    assert server


def test_a_pretend_fleet_is_upgraded_and_watched(
    shell: Shell, server: dict[str, str], tmp_path: Path
) -> None:
    shell("app create", "Water meters")
    ledger = tmp_path / "ledger.jsonl"
    fleet = "simulate --devices 4 --fail 0.25 --poll-s 0.1 --upgrades 1 --ledger"
    command = [sys.executable, "-m", "fleetbell", *fleet.split(), str(ledger), "--folder", str(shell.folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as simulator:
        assert simulator.stderr is not None
        assert "4 devices" in simulator.stderr.readline()
        (tmp_path / "app.bin").write_bytes(b"x" * 100_000)
        package = shell("package upload --version 2.0", str(tmp_path / "app.bin")).strip()
        operation = shell("task create --all", package).strip()
        shell("task watch", operation, code=1)
        simulator.communicate(timeout=60)

    assert simulator.returncode == 0
    [task] = shell.json("task list")
    assert (task["status"], task["tally"]["success"], task["tally"]["fail"]) == ("failed", 3, 1)
    versions = sorted(each["sw_version"] for each in shell.json("device list"))
    assert versions == ["1.0.0", "2.0", "2.0", "2.0"]
    assert server
    assert len(ledger.read_text().splitlines()) >= 13


def test_a_pretend_fleet_finds_its_application_among_several(shell: Shell, server: dict[str, str]) -> None:
    for name in ("one", "two"):
        shell("app create --id", name, name)
    fleet = "simulate --app two --devices 1 --poll-s 0.1 --folder"
    with subprocess.Popen(
        [sys.executable, "-m", "fleetbell", *fleet.split(), str(shell.folder)],
        stderr=subprocess.PIPE,
        text=True,
    ) as simulator:
        assert simulator.stderr is not None
        assert simulator.stderr.readline().startswith("1 device at http://127.0.0.1:")
        deadline_s = time.monotonic() + 30
        while not (devices := shell.json("device list")) or devices[0]["last_contact_at_ms"] is None:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        simulator.send_signal(signal.SIGINT)
        simulator.communicate(timeout=30)

    assert devices[0]["application_id"] == "two"
    assert server


class AnswersAreLost(Client):
    """A client whose first task is made, and nobody tells it."""

    lost = 0

    def create_software_task(self, *given: Any, **more: Any) -> str:
        made = super().create_software_task(*given, **more)
        if not self.lost:
            self.lost += 1
            raise ConnectionFailed("the platform was killed")
        return made


def test_the_demo_makes_no_second_task_when_the_answer_to_the_first_was_lost(
    shell: Shell, server: dict[str, str], tmp_path: Path
) -> None:
    app = shell.json("app create", "Demo")
    device_id = shell.json("device add meter-1")["device_id"]
    (tmp_path / "app.bin").write_bytes(b"bytes")
    file_id = shell("package upload --version 2.0", str(tmp_path / "app.bin")).strip()
    with AnswersAreLost(
        server["northbound_url"],
        app["application"]["application_id"],
        app["login_secret"],
        ca=server["ca_file"],
    ) as client:
        made = Application(client, patience_s=30).create_tasks(file_id, [device_id], kind=SOFTWARE)

    assert client.lost == 1
    assert [task["operation_id"] for task in shell.json("task list")] == made


def a_software_zip(folder: Path) -> Path:
    """A package that says its version by itself."""
    path = folder / "app.zip"
    words = {"specVersion": "1.0", "packageType": "softwarePackage", "fileName": "app.bin"}
    words |= {"version": "V1.1.10", "manufacturerName": "Acme", "deviceType": "WaterMeter", "model": "WM10"}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("DM/linux/UpgradeDesc.json", json.dumps(words))
        archive.writestr("app.bin", b"payload")
    return path


def test_a_software_zip_says_its_version_by_itself(shell: Shell, tmp_path: Path) -> None:
    shell("app create", "Meters")
    path = str(a_software_zip(tmp_path))

    package = shell.json("package upload", path)

    assert (package["version"], package["model"]) == ("V1.1.10", "WM10")
    assert "in DM/linux/UpgradeDesc.json; leave it out" in shell("package upload --version 2", path, code=1)


def test_an_upload_shows_on_a_terminal_how_far_it_is(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell("app create", "Meters")
    (tmp_path / "app.bin").write_bytes(b"x" * 1_000_000)
    drawn = io.StringIO()
    screen = Console(file=drawn, force_terminal=True, width=80)
    monkeypatch.setattr(packages, "err", lambda: screen)

    shell("package upload --version 2.0", str(tmp_path / "app.bin"))

    assert "1.0/1.0 MB" in drawn.getvalue()


def test_a_group_is_filled_and_upgraded(shell: Shell, tmp_path: Path) -> None:
    shell("app create", "Meters")
    names = ("meter-1", "meter-2", "meter-3")
    product = "--manufacturer Acme --device-type WaterMeter --model WM10"
    ids = [shell.json(f"device add {name} {product}")["device_id"] for name in names]
    (tmp_path / "app.bin").write_bytes(b"bytes")
    package = shell(f"package upload --version 2.0 {product}", str(tmp_path / "app.bin")).strip()

    group_id = shell("group create hall meter-1 --description north").strip()
    added = shell.json("group add hall", ids[1], "meter-1")
    shown = shell("group show", group_id)
    removed = shell.json("group remove hall meter-1")
    members = shell.json("group show hall")
    [task] = shell.json(f"task create {package} --group hall")

    assert (added["devices"], removed["devices"]) == (2, 1)
    assert re.search(rf"^  meter-2 +{ids[1]}$", shown, re.MULTILINE)
    assert members == [{"device_id": ids[1], "node_id": "meter-2"}]
    assert task["tally"]["total"] == 1
    assert "north" in shell("group list")
    assert shell.json("group change hall --name yard --most 1")["devices_most"] == 1
    full = shell("group add yard --all", code=1)
    assert full == "fleetbell: the group takes 1 devices; let it take more, or name fewer\n"
    shell("group delete yard")
    assert "There is no device group" not in shell("group list")  # it is a remark
    assert shell.json("group list") == []


def test_a_group_takes_all_devices_of_its_application_in_as_many_calls_as_it_needs(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "DEVICES_MOST", 2)
    for name in ("one", "two"):
        shell("app create --id", name, name)
        for number in range(3):
            shell(f"device add meter-{number} --app {name}")

    made = shell.json("group create all --all --app one")
    shell("group create all --app two")

    assert made["devices"] == 3
    assert "name one with --app: one, two" in shell("group show all", code=1)
    assert len(shell.json("group show all --app one")) == 3
    assert "name the devices to add, or take --all" in shell("group add all --app two", code=1)
    assert "not both" in shell("group add all meter-1 --all --app two", code=1)
    assert "has no device meter-9" in shell("group add all meter-9 --app two", code=1)
    assert "there is no device group 'none'" in shell("group delete none", code=1)


def test_a_task_is_stopped(shell: Shell, tmp_path: Path) -> None:
    operation = _a_task(shell, tmp_path)

    assert shell("task stop", operation).strip() == "1 stop"
    assert "giving up action" in shell("device show meter-1")


def _ids(shell: Shell) -> list[str]:
    return [each["application_id"] for each in shell.json("app list")]


def _a_task(shell: Shell, tmp_path: Path) -> str:
    """The operation id of a task that nobody has begun: one device, meter-1."""
    shell("app create", "Water meters")
    shell("device add meter-1")
    (tmp_path / "app.bin").write_bytes(b"bytes")
    package = shell("package upload --version 2.0", str(tmp_path / "app.bin")).strip()
    return shell("task create", package, "meter-1").strip()


def test_a_secret_is_replaced(shell: Shell) -> None:
    application_id = shell.json("app create", "Meters")["application"]["application_id"]

    assert shell("app rotate-secret", application_id, "signing").startswith("whsec_")
    assert shell.json("app rotate-secret", application_id, "gateway")["which"] == "gateway"
    assert "gateway token" in shell("app show", application_id)


def test_a_signing_key_is_made_announced_listed_and_removed(shell: Shell) -> None:
    shell("app create Meters --id meters")
    assert shell("key list meters") == ""

    first = shell.json("key rotate meters")
    told = shell("key rotate meters --announce-s 3600")
    second = shell.json("key list meters")[1]

    assert first["stage"] == "signs"
    assert first["public_key"].startswith("whpk_")
    assert second["public_key"] in told
    assert "announced" in shell("key list meters")
    assert "is taking the place of" in shell("key rotate meters", code=1)
    shell(f"key remove meters {first['key_id']}")
    assert [each["stage"] for each in shell.json("key list meters")] == ["signs"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("key rotate nobody", "there is no application 'nobody'"),
        ("key list nobody", "there is no application 'nobody'"),
        ("key remove meters none", "list its keys first"),
        ("key rotate meters --announce-s 60", "a key is announced for 3600 to"),
        ("key rotate meters --overlap-s -1", "the overlap must be from 0"),
    ],
)
def test_a_signing_key_that_cannot_be_is_refused_in_a_sentence(shell: Shell, line: str, said: str) -> None:
    shell("app create Meters --id meters")

    assert said in shell(line, code=1)


def test_cas_are_added_listed_and_removed(shell: Shell, tmp_path: Path) -> None:
    application_id = shell.json("app create", "Meters")["application"]["application_id"]
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    [added] = shell.json("app ca add", application_id, str(tmp_path / "ca.pem"))

    assert added["ca_id"] in shell("app ca list", application_id)
    shell("app ca remove", application_id, added["ca_id"])
    assert shell.json("app ca list", application_id) == []


def test_a_client_certificate_is_set_shown_and_removed(shell: Shell, tmp_path: Path) -> None:
    application_id = shell.json("app create", "Meters")["application"]["application_id"]
    issued = trustme.CA().issue_cert("fleetbell.example")
    both, key = tmp_path / "both.pem", tmp_path / "key.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(str(both))
    issued.private_key_pem.write_to_path(str(key))

    assert "no client certificate" in shell("app client-certificate show", application_id, code=1)
    one_file = shell.json("app client-certificate set", application_id, str(both), str(both))
    two_files = shell.json("app client-certificate set", application_id, str(both), str(key))
    assert one_file["certificate"] == two_files["certificate"]
    assert "days left" in shell("app client-certificate show", application_id)
    shell("app client-certificate remove", application_id)
    assert "no client certificate" in shell("app client-certificate show", application_id, code=1)


def an_app_that_trusts(shell: Shell, authority: trustme.CA) -> str:
    """The signing secret of the only application, "meters"."""
    made = shell.json("app create", "Meters", "--id", "meters")
    ca = shell.folder.parent / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    shell("app ca add meters", str(ca))
    return str(made["signing_secret"])


OPEN = "--set egress.allow=127.0.0.1/32"


def test_an_endpoint_is_tested_with_a_message_that_a_receiver_can_verify_and_tell(
    shell: Shell, tmp_path: Path
) -> None:
    authority = trustme.CA()
    secret = an_app_that_trusts(shell, authority)
    issued = authority.issue_cert("127.0.0.1")
    both = tmp_path / "receiver.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(str(both))
    got: list[Context] = []
    receiver = Receiver(secret)
    receiver.on(SoftwareStateChanged)(lambda _message, context: got.append(context))

    with serve(receiver, "127.0.0.1", 0, both, both) as server:
        url = f"https://127.0.0.1:{server.port}/push"
        passed = shell(f"endpoint test {url} {OPEN}")
        found = shell.json(f"endpoint test {url} {OPEN}")
        closed = shell(f"endpoint test {url}", code=1)

    assert [context.is_test and context.is_verified for context in got] == [True, True]
    assert got[1].webhook_id == found["webhook_id"]
    for line in ("ok +name", "ok +connection", "ok +tls", "ok +answer", "status +200", "trusted +yes"):
        assert re.search(line, passed), line
    assert "a push to this URL fails" in closed
    assert "egress.allow" in shell.out


def test_an_endpoint_that_asks_who_calls_passes_once_the_application_has_a_client_certificate(
    shell: Shell, tmp_path: Path
) -> None:
    authority, clients = trustme.CA(), trustme.CA()
    an_app_that_trusts(shell, authority)
    both = tmp_path / "client.pem"
    issued = clients.issue_cert("fleetbell.example")
    issued.private_key_and_cert_chain_pem.write_to_path(str(both))

    with a_strict_server(a_demanding_context(authority, clients)) as url:
        shell(f"endpoint test {url} {OPEN}", code=1)
        said = shell.out
        shell("app client-certificate set meters", str(both), str(both))
        shell(f"endpoint test {url} {OPEN}")

    assert "fleetbell app client-certificate set meters" in said


@pytest.mark.parametrize("what", ["device", "package", "task", "endpoint", "group", "delivery"])
def test_a_list_for_an_application_that_is_not_there_is_not_merely_empty(shell: Shell, what: str) -> None:
    shell("app create", "Meters")

    assert "there is no application 'metres'" in shell(f"{what} list --app metres", code=1)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("endpoint chaos 1 --off --duplicate 0.5", "--off ends chaos, and takes no delay and no share"),
        ("endpoint test receiver", "a URL such as https://receiver.example/push, not 'receiver'"),
        ("group change hall", "say what to change: --name, --description or --most"),
        ("delivery replay 1 --all", "name one delivery, or choose several by --device and the like or --all"),
    ],
)
def test_words_that_would_be_passed_over_or_mean_nothing_are_refused(
    shell: Shell, line: str, said: str
) -> None:
    assert said in shell(line, code=1)


def test_an_endpoint_that_is_not_there_is_said_so(shell: Shell) -> None:
    shell("app create", "Meters")

    assert "there is no endpoint" in shell("endpoint test 7", code=1)
    assert "needs its port" in shell("endpoint test https://receiver.example/push", code=1)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("device list", "there is no platform in"),
        ("task list --set northbound.prot=1", "did you mean northbound.port"),
        ("task list --set northbound.port", "--set takes name=value"),
        ("nonsense", "nonsense"),
        ("app create", "app create needs NAME; see fleetbell app create --help"),
        ("app create Water meters", "has no use for 'meters'; words that belong together need quotes"),
        ("app rotate-secret app-1 wrong", 'Choose from: "login", "signing", "gateway"'),
        ("task list --status done", 'Choose from: "wait", "processing", "success", "failed", "stop"'),
        ("group create hall --most -1", "Must be >= 0"),
        ("group change hall --most -1", "Must be >= 0"),
        ("token create grafana --days -1", "Must be >= 0"),
        ("package upload", "package upload needs FILE"),
        ("package upload a.bin --versio 1", "Unknown option: --versio. Did you mean --version?"),
        (
            "device list --application app-1",
            "Unknown option: --application; see fleetbell device list --help",
        ),
        ("simulate --fail 2", "Must be <= 1"),
        ("demo --devices 0", "Must be >= 1"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(shell: Shell, line: str, said: str) -> None:
    code = 1 if line == "device list" else 2

    assert said in re.sub(r"\s+", " ", shell(line, code=code))
    assert not shell.folder.exists()


def test_a_refusal_of_the_platform_is_said_as_it_came(shell: Shell) -> None:
    shell("app create", "Meters")

    assert "there is no device" in shell("device show none", code=1)
    assert "there is no file" in shell("package upload none.bin --version 1", code=1)
    assert "there is no package" in shell("task create none --all", code=1)
    assert "not both" in shell("task create none", code=1)


def test_our_own_fault_goes_to_standard_error_and_is_told_with_a_reference(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(_: Applications) -> None:
        raise RuntimeError("the inner words")

    shell("app create Meters")
    monkeypatch.setattr(Applications, "list", fault)
    said = shell("app list --json", code=1)

    assert "this is our own fault" in said
    assert "the inner words" in said
    assert shell.out == ""


def test_what_a_newcomer_gets_wrong_is_answered_with_what_would_be_right(
    shell: Shell, tmp_path: Path
) -> None:
    application_id = shell.json("app create", "Meters")["application"]["application_id"]
    (tmp_path / "binary.pem").write_bytes(b"\xff")
    (tmp_path / "none.pem").write_text("no certificate")
    (tmp_path / "empty").mkdir()
    a_zip = a_software_zip(tmp_path)

    for line, said in (
        (f"package upload {tmp_path} --version 1", "is a folder; a package is one file"),
        (f"package upload {tmp_path}/none.pem/a.bin --version 1", "a.bin cannot be read: Not a directory"),
        (f"package upload {tmp_path}/none.pem", "needs --version, what devices run after it"),
        (f"package upload {a_zip} --kind firmware", "needs --version, what devices run after it"),
        (f"app ca add {application_id} {tmp_path}/no.pem", "no.pem cannot be read: No such file"),
        (f"app ca add {application_id} {tmp_path}/binary.pem", "begins with -----BEGIN CERTIFICATE-----"),
        (f"simulate --url localhost:8080 --ca {tmp_path}/no.pem", "such as https://fleet.example.com:8943"),
        (f"simulate --url https://localhost:1 --ca {tmp_path}/no.pem", "no.pem cannot be read"),
        (f"simulate --url https://localhost:1 --ca {tmp_path}/none.pem", "holds no CA certificate"),
        ("simulate --devices 2", "no platform is running here: start one with fleetbell serve"),
    ):
        assert said in shell(line, code=1)

    assert shell.json("device list") == []  # a fleet that cannot begin is not registered


def test_a_ca_is_read_from_standard_input(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    application_id = shell.json("app create", "Meters")["application"]["application_id"]
    monkeypatch.setattr("sys.stdin", io.StringIO(trustme.CA().cert_pem.bytes().decode()))
    shell("app ca add", application_id, "-")

    assert len(shell.json("app ca list", application_id)) == 1


def test_a_data_folder_that_is_a_file_is_called_so(shell: Shell) -> None:
    shell.folder.write_text("a file")

    assert "there is no platform in" in shell("device list", code=1)
    assert "cannot be used: File exists" in shell("app create Meters", code=1)


def test_a_second_application_tells_that_default_names_none_any_more(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, told in (("One", False), ("Two", True), ("Three", False)):
        run(["app", "create", name, "--folder", str(shell.folder)])
        assert ("DEFAULT in the paths of devices names neither" in capsys.readouterr().err) is told
    run(["app", "delete", *_ids(shell)[:1], "--folder", str(shell.folder)])
    run(["app", "delete", *_ids(shell)[:1], "--folder", str(shell.folder)])
    setting = f"devices.default_tenant={_ids(shell)[0]}"
    run(["app", "create", "Four", "--set", setting, "--folder", str(shell.folder)])
    assert "DEFAULT" not in capsys.readouterr().err


def test_a_result_that_cannot_be_written_is_said_in_a_sentence(shell: Shell) -> None:
    shell("app create Meters")
    for json_option in ([], ["--json"]):
        line = [sys.executable, "-m", "fleetbell", "app", "list", *json_option, "--folder", str(shell.folder)]
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

        assert done.returncode == 1
        assert done.stderr == "fleetbell: the result cannot be written: No space left on device\n"


def test_a_reader_who_has_read_enough_is_no_error(shell: Shell) -> None:
    shell("app create Meters")
    for json_option in ([], ["--json"]):
        line = [sys.executable, "-m", "fleetbell", "app", "list", *json_option, "--folder", str(shell.folder)]
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(line, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
        os.close(writer)

        assert (done.returncode, done.stderr) == (1, "")


def test_what_people_call_things_is_printed_as_it_is(shell: Shell) -> None:
    shell("app create", ":bell: [bold]")

    assert ":bell: [bold]" in shell("app list")


def test_a_folder_without_a_platform_stays_as_it_is(shell: Shell) -> None:
    shell.folder.mkdir()

    assert "there is no platform in" in shell("device list", code=1)
    assert list(shell.folder.iterdir()) == []


def test_a_task_is_not_watched_where_nothing_goes_on(shell: Shell, tmp_path: Path) -> None:
    operation = _a_task(shell, tmp_path)

    assert "no platform is running here" in shell("task watch", operation, code=1)
    shell("task stop", operation)
    assert shell.json("task watch") == []  # nothing is open any more
    shell("task watch", operation, code=1)
    assert re.search(r"^meter-1 +stop +\S", shell.out, re.MULTILINE)


def test_a_task_keeps_the_policy_that_its_options_say(shell: Shell, tmp_path: Path) -> None:
    shell("task stop", _a_task(shell, tmp_path))
    [package] = shell.json("package list")

    def made(options: str) -> dict[str, Any]:
        [task] = shell.json(f"task create {options}", package["file_id"], "meter-1")
        shell("task stop", task["operation_id"])
        return cast("dict[str, Any]", task)

    [task] = shell.json(
        "task create --retries 2 --window 2090-01-01T00:00Z 2090-01-01T08:00+02:00",
        package["file_id"],
        "meter-1",
    )
    assert re.search(r"waits for .*software 2.0 \(offered in \d+ d\)", shell("device show meter-1"))
    assert "its window in " in shell("task list")
    shell("task stop", task["operation_id"])
    assert "offered" not in shell("device show meter-1")
    assert (task["waits_for"], task["retries_left"]) == ("window", 2)
    assert task["due_at_ms"] == 3_786_912_000_000
    assert (made("--online")["waits_for"], made("--retries 5")["retries_left"]) == ("devices", 5)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("meter-1 --retries 6", "retryTimes must be 1 to 5"),
        ("meter-1 --window 2090-01-01T00:00Z 2090-01-01T00:04Z", "at least 5 minutes"),
        ("meter-1 --window 2090-01-01T00:00 2090-01-01T00:04", "needs the time zone"),
        ("meter-1 --window tomorrow later", "takes times such as 2026-11-20T22:00Z"),
        ("meter-1 --online --window 2090-01-01T00:00Z 2090-01-01T08:00Z", "leave out one of the two"),
        ("meter-1 --all", "not both"),
        ("meter-1 --group hall", "not both"),
        ("--group hall", "name it with --manufacturer, --device-type and --model"),
        ("--group hall --manufacturer a --device-type b --model c", "no device group 'hall'"),
    ],
)
def test_a_task_that_cannot_be_is_refused_with_what_would_be_right(
    shell: Shell, tmp_path: Path, options: str, sentence: str
) -> None:
    shell("task stop", _a_task(shell, tmp_path))
    [package] = shell.json("package list")

    assert sentence in shell(f"task create {package['file_id']} {options}", code=1)


def test_what_is_no_longer_needed_is_deleted(shell: Shell, tmp_path: Path) -> None:
    operation = _a_task(shell, tmp_path)
    [package] = shell.json("package list")

    assert "stop the task" in shell("device delete meter-1", code=1)
    assert "an open upgrade task needs package" in shell("package delete", package["file_id"], code=1)
    shell("task stop", operation)
    shell("package delete", package["file_id"])
    assert shell.json("package list") == []
    assert not list((shell.folder / "packages").iterdir())


def test_several_applications_ask_which_one_is_meant(shell: Shell) -> None:
    shell("app create One --id one")
    shell("app create Two --id two")

    assert "one, two" in shell("device add n1", code=1)
    assert shell.json("device add n1 --app two")["application_id"] == "two"
    shell("app delete one")
    assert [each["application_id"] for each in shell.json("app list")] == ["two"]


def test_config_show_names_the_origin_of_each_value(shell: Shell) -> None:
    shown = shell.json("config show --set northbound.port=9000")

    assert shown["northbound.port"] == {"value": 9000, "origin": "command line"}
    assert shown["northbound.host"]["origin"] == "default"
    assert shown["folder"]["value"] == str(shell.folder)


def test_help_imports_neither_the_platform_nor_the_sdk() -> None:
    program = (
        "import sys; from fleetbell.cli.commands import run; run(['--help']); "
        "print(*(name for name in ('apsw', 'pycurl', 'starlette', 'uvicorn', 'aiohttp', 'httpx2', "
        "'fleetbell_sdk', 'cryptography') if name in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "simulate" in done.stdout
    assert done.stderr.split() == []


def test_the_reference_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference().rstrip("\n") + "\n"


def test_a_running_platform_is_backed_up_and_begins_again_from_the_copy(
    shell: Shell, server: dict[str, str], tmp_path: Path
) -> None:
    shell("app create", "Water meters")
    (tmp_path / "app.bin").write_bytes(b"bytes")
    package = shell.json("package upload --version 2.0", str(tmp_path / "app.bin"))
    into = tmp_path / "backups" / "today"

    made = shell.json("backup", str(into))
    assert (made["packages"], made["packages_bytes"]) == (1, 5)
    assert f"{into} is there already" in shell("backup", str(into), code=1)

    restored = Shell(into, shell._capsys)
    assert [each["file_id"] for each in restored.json("package list")] == [package["file_id"]]
    restored("device add meter-1")
    assert shell.json("device list") == []
    assert (into / "tls").is_dir()


def test_a_folder_without_a_platform_is_not_backed_up(shell: Shell, tmp_path: Path) -> None:
    assert "there is no platform in" in shell("backup", str(tmp_path / "copy"), code=1)
    assert list(tmp_path.glob("copy*")) == []
