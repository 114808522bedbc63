"""The pages on receiving inside a framework and behind nginx, run as they stand."""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.pages import ROOT, run, script
from tests.programs import require

HOW_TO = ROOT / "docs" / "how-to"
PORT_HERE = "$(grep -o 'https://127.0.0.1:[0-9]*' server.log | tail -n 1)"


def statuses(said: str) -> list[tuple[str, str]]:
    return re.findall(r"^([a-z ]+): (\d+)$", said, re.MULTILINE)


@pytest.mark.parametrize(
    ("page", "port", "any_port"),
    [
        ("flask", "--bind 127.0.0.1:8443", "--bind 127.0.0.1:0"),
        ("django", "--bind 127.0.0.1:8443", "--bind 127.0.0.1:0"),
        ("fastapi", "--port 8443", "--port 0"),
    ],
)
def test_the_page_on_a_framework_takes_a_signed_message_and_refuses_a_forged_one(
    page: str, port: str, any_port: str, short_path: Path
) -> None:
    require("openssl", package="openssl")

    said = run(
        script(HOW_TO / f"{page}.md", f"{page}-trial"),
        short_path,
        {port: any_port, "https://127.0.0.1:8443": PORT_HERE},
    )

    assert statuses(said) == [("signed", "200"), ("forged", "401")]
    assert "result dev-a SUCCESS V1.1.0" in said.splitlines()
    log = (short_path / f"{page}-trial" / "server.log").read_text()
    assert "Traceback" not in log


def test_the_page_on_nginx_lets_in_the_platform_and_nobody_else(short_path: Path) -> None:
    require("nginx", package="nginx-light", folders="/usr/sbin")
    require("openssl", package="openssl")
    short_path.chmod(0o755)  # nginx started as root works as another user
    front, back = two_free_ports()

    said = run(
        script(HOW_TO / "nginx.md", "nginx-trial"),
        short_path,
        {
            "127.0.0.1:8443": f"127.0.0.1:{front}",
            "127.0.0.1:8000": f"127.0.0.1:{back}",
            "behind.py 8000": f"behind.py {back}",
        },
    )

    assert statuses(said) == [
        ("signed", "200"),
        ("forged", "401"),
        ("no certificate", "400"),
        ("too large", "413"),
        ("another path", "404"),
    ]
    assert "result dev-a SUCCESS V1.1.0" in said.splitlines()


def two_free_ports() -> list[int]:
    """Ports that were free a moment ago; nginx cannot choose one itself and tell."""
    with ExitStack() as probes:
        found = [probes.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        return [probe.getsockname()[1] for probe in found]
