"""The examples, run as programs."""

import queue
from pathlib import Path

import pytest

from fleetbell_sdk.testing import post, push_headers, software_result, software_state
from fleetbell_sdk.wire import UpgradeMessage, encode

from .certificates import Certificates
from .programs import EXAMPLES, PATH, SECRET, running, url
from .scripted import LOGIN_PATH, Answer, Call, Platform, a_token


def test_the_modern_receiver_tells_each_result_once(certificates: Certificates) -> None:
    body = encode(software_result())
    headers = push_headers(body, secret=SECRET)
    arguments: list[str | Path] = ["127.0.0.1", "0", certificates.certfile, certificates.keyfile]
    with running("modern_receiver.py", *arguments) as program:
        address = f"https://127.0.0.1:{program.line('listening').split()[-1]}{PATH}"

        statuses = [post(address, body, headers=headers, ca=certificates.trust).status for _ in range(2)]
        statuses.append(post(address, software_state(), secret=SECRET, ca=certificates.trust).status)
        statuses.append(post(address, software_state(), ca=certificates.trust).status)

        assert statuses == [200, 200, 200, 401]
        assert program.line("") == "result dev-a SUCCESS V1.1.0"
        assert program.line("") == "state dev-a downloading"


def test_the_flask_receiver_runs_under_flasks_own_server(certificates: Certificates) -> None:
    command: list[str | Path] = [
        "-m",
        "flask",
        "--app",
        "flask_receiver",
        "run",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
    ]
    tls: list[str | Path] = ["--cert", certificates.certfile, "--key", certificates.keyfile]
    with running(*command, *tls) as program:
        address = url(program.line("Running on"))

        assert post(address, software_result(), secret=SECRET, ca=certificates.trust).status == 200
        assert post(address, software_result(), ca=certificates.trust).status == 401
        assert program.line("result") == "result dev-a SUCCESS V1.1.0"


def test_the_fastapi_receiver_runs_under_uvicorn(certificates: Certificates) -> None:
    command: list[str | Path] = [
        "-m",
        "uvicorn",
        "fastapi_receiver:app",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
    ]
    tls: list[str | Path] = ["--ssl-certfile", certificates.certfile, "--ssl-keyfile", certificates.keyfile]
    with running(*command, *tls) as program:
        address = url(program.line("Uvicorn running on"))

        assert post(address, software_result(), secret=SECRET, ca=certificates.trust).status == 200
        assert post(address, software_result(), ca=certificates.trust).status == 401
        assert program.line("result") == "result dev-a SUCCESS V1.1.0"


@pytest.fixture
def told(platform: Platform) -> "queue.Queue[Call]":
    """What the old application asks of a platform that agrees to everything."""
    told: queue.Queue[Call] = queue.Queue()

    def answer(call: Call) -> Answer:
        told.put(call)
        if call.path == LOGIN_PATH:
            return Answer(200, a_token())
        if call.path.endswith("/subscribe"):
            return Answer(200)
        if call.path.endswith("/softwareUpgrade"):
            return Answer(200, {"operationId": "op-300"})
        sub_tasks = [{"deviceId": device_id, "status": "success"} for device_id in ("dev-a", "dev-b")]
        return Answer(200, {"data": sub_tasks, "pageNo": 0, "pageSize": 100, "totalCount": 2})

    platform.answer = answer
    return told


def test_an_application_written_to_the_old_documents_runs_with_new_imports(
    platform: Platform, told: "queue.Queue[Call]", certificates: Certificates, tmp_path: Path
) -> None:
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources" / "application.ini").write_text(
        "[CLIENT_INFO]\nplatformIp = 127.0.0.1\n"
        f"platformPort = {platform.port}\nappId = app-0001\nsecret = s\ncaFile = {certificates.ca_file}\n"
    )
    arguments: list[str | Path] = [
        "127.0.0.1",
        "0",
        certificates.certfile,
        certificates.keyfile,
        "pkg-55",
        "dev-a",
        "dev-b",
    ]
    with running(EXAMPLES / "legacy_application.py", *arguments, folder=tmp_path) as program:
        calls = [told.get(timeout=30) for _ in range(6)]
        subscriptions = [call.json for call in calls[1:5]]
        assert isinstance(subscriptions[0], dict)
        callback = str(subscriptions[0]["callbackurl"])
        assert program.line("") == "task op-300"
        pushes: list[UpgradeMessage] = [
            software_state(),
            software_result(),
            software_result(device_id="dev-b"),
        ]
        statuses = [post(callback, push, ca=certificates.trust).status for push in pushes]
        lines = [program.line("") for _ in range(5)]
        program.process.wait(30)

    assert [call.path.rpartition("/")[2] for call in calls] == [
        "login",
        *["subscribe"] * 4,
        "softwareUpgrade",
    ]
    assert subscriptions == [
        {"notifyType": kind, "callbackurl": callback}
        for kind in (
            "swUpgradeStateChangeNotify",
            "swUpgradeResultNotify",
            "fwUpgradeStateChangeNotify",
            "fwUpgradeResultNotify",
        )
    ]
    assert calls[5].json == {"fileId": "pkg-55", "targets": {"devices": ["dev-a", "dev-b"]}}
    assert statuses == [200, 200, 200]
    assert lines == [
        "state dev-a downloading",
        "result dev-a SUCCESS V1.1.0",
        "result dev-b SUCCESS V1.1.0",
        "sub task dev-a success",
        "sub task dev-b success",
    ]
    assert program.process.returncode == 0
