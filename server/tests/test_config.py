from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fleetbell.config import KNOWN, ConfigInvalid, Loaded, load, reference

PAGE = Path(__file__).parents[2] / "docs/reference/settings.md"


def loaded(
    tmp_path: Path,
    *,
    file: str = "",
    environment: dict[str, str] | None = None,
    command_line: dict[str, object] | None = None,
) -> Loaded:
    """The settings of a data folder in which ``file`` is the text of ``fleetbell.toml``."""
    if file:
        (tmp_path / "fleetbell.toml").write_text(file)
    arguments: dict[str, object] = {"folder": tmp_path, **(command_line or {})}
    return load(environment={"HOME": str(tmp_path), **(environment or {})}, command_line=arguments)


def test_without_anything_given_every_value_but_the_folder_is_a_default(tmp_path: Path) -> None:
    found = loaded(tmp_path)

    assert {name for name, origin in found.origins.items() if origin != "default"} == {"folder"}
    assert found.settings.northbound.port == 8743
    assert found.settings.devices.http_port is None
    assert found.settings.egress.allow == ()


def test_the_command_line_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        file='[northbound]\nport = 1\nhost = "192.0.2.1"\n[storage]\nnotes_most = 7\n',
        environment={"FLEETBELL_NORTHBOUND__PORT": "2", "FLEETBELL_NORTHBOUND__HOST": "192.0.2.2"},
        command_line={"northbound.port": "3"},
    )

    assert found.settings.northbound.port == 3
    assert found.settings.northbound.host == "192.0.2.2"
    assert found.settings.storage.notes_most == 7
    assert found.origins["northbound.port"] == "command line"
    assert found.origins["northbound.host"] == "FLEETBELL_NORTHBOUND__HOST"
    assert found.origins["storage.notes_most"] == str(tmp_path / "fleetbell.toml")
    assert found.origins["northbound.token_s"] == "default"


def test_dev_opens_loopback_and_private_networks_and_plain_http(tmp_path: Path) -> None:
    found = loaded(
        tmp_path, command_line={"dev": True}, environment={"FLEETBELL_EGRESS__ALLOW": "100.64.0.0/10"}
    )

    assert found.settings.devices.http_port == 8080
    assert found.settings.callbacks.allow_http
    assert {"100.64.0.0/10", "127.0.0.0/8", "10.0.0.0/8"} <= set(found.settings.egress.allow)
    assert found.origins["egress.allow"] == "FLEETBELL_EGRESS__ALLOW and dev"


def test_dev_changes_nothing_that_somebody_set(tmp_path: Path) -> None:
    found = loaded(
        tmp_path, file="dev = true\n[devices]\nhttp_port = 9999\n[callbacks]\nallow_http = false\n"
    )

    assert found.settings.devices.http_port == 9999
    assert not found.settings.callbacks.allow_http


def test_a_path_in_the_file_is_meant_from_where_the_file_is(tmp_path: Path) -> None:
    found = loaded(tmp_path, file='[northbound]\ncertificate = "tls/cert.pem"\nkey = "/etc/key.pem"\n')

    assert found.settings.northbound.certificate == tmp_path / "tls/cert.pem"
    assert found.settings.northbound.key == Path("/etc/key.pem")


def test_a_file_named_by_the_environment_may_name_the_folder(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('folder = "data"\n')

    found = load(environment={"HOME": "/nowhere", "FLEETBELL_CONFIG": str(file)})

    assert found.settings.folder == tmp_path / "data"


@pytest.mark.parametrize(
    "given",
    [
        {"file": "[northbound]\nprot = 1\n"},
        {"environment": {"FLEETBELL_NORTHBOUND__PROT": "1"}},
        {"command_line": {"northbound.prot": 1}},
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(tmp_path: Path, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigInvalid, match=r"(?i)no setting .*prot; did you mean .*northbound.+port\?"):
        loaded(tmp_path, **given)


def test_an_unknown_section_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="section devises; did you mean devices"):
        loaded(tmp_path, file="[devises]\npoll_s = 1\n")


def test_somebody_elses_variable_with_our_prefix_is_left_alone(tmp_path: Path) -> None:
    found = loaded(tmp_path, environment={"FLEETBELL_SECRET": "of an application"})

    assert "FLEETBELL_SECRET" not in found.origins.values()


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("[northbound]\nport = 'x'\n", "northbound.port must be a whole number, not 'x'"),
        ("[northbound]\nport = '1'\n", "northbound.port must be a whole number, not '1'"),
        ("[northbound]\nport = true\n", "northbound.port must be a whole number, not True"),
        ("[egress]\nallow = '10.0.0.1/8'\n", "10.0.0.1/8"),
        ("[egress]\nallow = [1]\n", "egress.allow must be a list of texts"),
        ("northbound = 1\n", r"northbound is a section, written \[northbound\]"),
        ("[northbound", "is not TOML"),
        ("folder = '/elsewhere'\n", "cannot name another one"),
        ("roles = ['dors']\n", "did you mean doors"),
        ("roles = []\n", "roles is empty"),
    ],
)
def test_a_value_that_cannot_be_read_is_refused_in_words(tmp_path: Path, file: str, sentence: str) -> None:
    with pytest.raises(ConfigInvalid, match=sentence):
        loaded(tmp_path, file=file)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"northbound.port": 70_000}, "from 0 to 65535"),
        ({"northbound.certificate": "a.pem"}, "belong together"),
        ({"northbound.public_url": "fleet.example.com"}, "must begin with https://"),
        ({"northbound.json_body_bytes": 2_000_000}, "not above northbound.list_body_bytes"),
        ({"northbound.token_s": 90_000}, "not above northbound.refresh_token_s"),
        ({"northbound.calls_per_window": 0}, "calls_per_window must be 1 or more"),
        ({"tasks.online_wait_s": 0}, "tasks.online_wait_s must be above 0"),
        ({"tasks.download_s": -1}, "tasks.download_s must be above 0"),
        ({"tasks.result_s": 0}, "tasks.result_s must be above 0"),
        ({"tasks.poll_s": 0}, "tasks.poll_s must be above 0"),
        ({"tasks.retry_wait_s": -1}, "tasks.retry_wait_s must be 0 or more"),
        ({"tasks.same_version": "skip"}, "tasks.same_version is success, fail or install, not 'skip'"),
        ({"devices.poll_s": 86_400}, "below a day"),
        ({"devices.online_s": 299}, "must not be below devices.poll_s"),
        ({"northbound.device_timeout_s": -1}, "northbound.device_timeout_s must be from 0 to"),
        ({"devices.https_port": ""}, "could not reach the platform"),
        ({"devices.http_port": 8943}, "must differ"),
        ({"devices.https_port": 8743}, "northbound.port and devices.https_port are both 8743"),
        ({"operator.port": 8943}, "devices.https_port and operator.port are both 8943"),
        ({"operator.key": "a.pem"}, "belong together"),
        ({"operator.connections_most": 0}, "connections_most must be 1 or more"),
        ({"callbacks.connect_s": 20}, "not above callbacks.deadline_s"),
        ({"dispatch.window_first": 100}, "from 1 to dispatch.window_most"),
        ({"dispatch.horizon_s": 60}, "longest wait of dispatch.unreachable_s"),
        ({"dispatch.jitter": 2}, "share from 0 to 1"),
        ({"dispatch.unreachable_s": "0"}, "each above 0"),
        ({"logging.level": "loud"}, "debug, info, warning or error"),
        ({"northbound.port": None}, "needs a value"),
    ],
)
def test_values_that_do_not_go_together_are_refused(
    tmp_path: Path, given: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigInvalid, match=sentence):
        loaded(tmp_path, command_line=given)


@pytest.mark.parametrize(
    ("given", "silence_s"),
    [({}, 900), ({"devices.poll_s": 3600}, 10_800), ({"devices.online_s": 600}, 600)],
)
def test_a_device_is_online_for_three_polls_and_a_quarter_of_an_hour_at_least(
    tmp_path: Path, given: dict[str, Any], silence_s: int
) -> None:
    assert loaded(tmp_path, command_line=given).settings.devices.silence_s == silence_s


def test_equal_ports_are_fine_when_any_free_port_is_asked_for(tmp_path: Path) -> None:
    given: dict[str, object] = {"northbound.port": 0, "devices.https_port": 0, "devices.http_port": 0}

    assert loaded(tmp_path, command_line=given).settings.northbound.port == 0


@pytest.mark.parametrize(
    ("given", "tls"),
    [
        ({}, False),
        ({"operator.host": "::1"}, False),
        ({"operator.host": "0.0.0.0"}, True),
        ({"operator.host": "fleet.example.com"}, True),
        ({"operator.certificate": "a.pem", "operator.key": "a.key"}, True),
    ],
)
def test_the_operators_door_speaks_https_unless_only_this_machine_reaches_it(
    tmp_path: Path, given: dict[str, object], tls: bool
) -> None:
    assert loaded(tmp_path, command_line=given).settings.operator.tls is tls


def test_a_folder_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="too long for a Unix socket"):
        loaded(tmp_path / ("x" * 90) / ("y" * 90))


def test_a_named_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="there is no settings file"):
        load(environment={}, file=tmp_path / "none.toml")


def test_a_file_that_cannot_be_read_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=f"^{re.escape(str(tmp_path))} cannot be read: Is a directory$"):
        load(environment={}, file=tmp_path)


def test_every_setting_has_a_sentence() -> None:
    assert all(known.about.endswith(".") for known in KNOWN.values())


def test_the_reference_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference()
