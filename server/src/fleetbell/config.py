"""Settings: one tree of frozen dataclasses, and where each value came from.

A value comes from the first of these that has it: the command line, the environment, the TOML file, the
``--dev`` switch, the default in this module. Only the command line and the assembly read settings; everything
below is handed plain values.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import tomllib
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Final, TypeVar, cast

import msgspec

T = TypeVar("T")

FILE_NAME: Final = "fleetbell.toml"
PREFIX: Final = "FLEETBELL_"
FILE_VARIABLE: Final = "FLEETBELL_CONFIG"
ROLES: Final = ("doors", "dispatch", "upkeep")

_SOCKET_PATH_BYTES: Final = 103  # what every Unix takes

DEV_NETWORKS: Final = (
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
)
"""What ``--dev`` opens to callbacks: loopback and private addresses."""

DEV_DEFAULTS: Final[Mapping[str, object]] = {
    "devices.http_port": 8080,
    "callbacks.allow_http": True,
}
"""What else ``--dev`` changes, unless somebody says otherwise."""


class ConfigInvalid(Exception):
    """A setting is unknown, cannot be read, or does not go with another one."""


def setting(default: T, about: str) -> T:
    """A setting with its default and the sentence that explains it."""
    return field(default=default, metadata={"about": about})


def _check(right: bool, sentence: str) -> None:
    if not right:
        raise ConfigInvalid(sentence)


def _check_pair(certificate: Path | None, key: Path | None, section: str) -> None:
    _check(
        (certificate is None) == (key is None),
        f"{section}.certificate and {section}.key belong together: give both, or none to have them made",
    )


def _check_port(port: int | None, name: str) -> None:
    _check(
        port is None or 0 <= port <= 65_535, f"{name} must be from 0 to 65535 (0: any free port), not {port}"
    )


def _check_url(url: str | None, name: str) -> None:
    _check(
        url is None or url.startswith(("https://", "http://")),
        f"{name} must begin with https:// or http://, such as https://fleet.example.com:8443, not {url!r}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Northbound:
    """The HTTPS door for applications."""

    host: str = setting("0.0.0.0", "The address it listens on.")  # noqa: S104
    port: int = setting(8743, "The port it listens on; 0 takes a free one.")
    certificate: Path | None = setting(
        None, "PEM file with its certificate and chain; without it one is made from a private CA."
    )
    key: Path | None = setting(None, "PEM file with the key of the certificate.")
    public_url: str | None = setting(None, "How applications reach it, when that differs from host and port.")
    connections_most: int = setting(
        2000, "Open connections; more are closed at once. One costs 50 KiB, up to 200 KiB while it sends."
    )
    json_body_bytes: int = setting(65_536, "The largest JSON body.")
    list_body_bytes: int = setting(1_048_576, "The largest JSON body where lists of ids are allowed.")
    calls_per_window: int = setting(100, "Calls of one application inside a window; the next one is refused.")
    window_s: float = setting(60.0, "The length of that window.")
    device_timeout_s: int = setting(
        0,
        "How long a new device has to come online, before it is removed, when its registration has no "
        "timeout; 0: for ever.",
    )
    streams_most: int = setting(
        10, "Open event streams of one application, over this door and the operator's; one more is refused."
    )
    token_s: int = setting(3600, "How long an access token is good.")
    refresh_token_s: int = setting(86_400, "How long a refresh token is good.")

    def __post_init__(self) -> None:
        _check_port(self.port, "northbound.port")
        _check_pair(self.certificate, self.key, "northbound")
        _check_url(self.public_url, "northbound.public_url")
        _check(
            1024 <= self.json_body_bytes <= self.list_body_bytes,
            "northbound.json_body_bytes must be at least 1024 and not above northbound.list_body_bytes",
        )
        _check(
            self.calls_per_window >= 1 and self.window_s > 0,
            "northbound.calls_per_window must be 1 or more and northbound.window_s above 0",
        )
        _check(self.streams_most >= 1, "northbound.streams_most must be 1 or more")
        _check(
            0 < self.token_s <= self.refresh_token_s,
            "northbound.token_s must be above 0 and not above northbound.refresh_token_s, "
            "or a token could never be refreshed",
        )
        _check(self.connections_most >= 1, "northbound.connections_most must be 1 or more")
        _check(0 <= self.device_timeout_s < 2**31, "northbound.device_timeout_s must be from 0 to 2147483647")


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """The door for devices: DDI and downloads."""

    host: str = setting("0.0.0.0", "The address it listens on.")  # noqa: S104
    https_port: int | None = setting(
        8943, "The HTTPS port; 0 takes a free one, empty means no HTTPS listener."
    )
    http_port: int | None = setting(None, "A plain HTTP port beside it; for commissioning only.")
    public_url: str | None = setting(
        None, "The beginning of links for devices; without it the Host header of their request is taken."
    )
    certificate: Path | None = setting(
        None, "PEM file with its certificate and chain; without it one is made from a private CA."
    )
    key: Path | None = setting(None, "PEM file with the key of the certificate.")
    connections_most: int = setting(
        20_000,
        "Open connections; more are closed at once. One over HTTPS costs some 50 KiB, "
        "and a device keeps it for a minute after its poll.",
    )
    poll_s: int = setting(300, "How often a device is asked to poll.")
    online_s: int | None = setting(
        None,
        "How long a device that says nothing still counts as online; empty: three polls, but 900 at least.",
    )
    handling: str = setting(
        "forced", "What a device is told of an upgrade: forced (install now) or soft (when its user agrees)."
    )
    default_tenant: str | None = setting(
        None, "Application id that the DDI tenant DEFAULT means; without it, the only application."
    )
    version_key: str = setting(
        "version", "The device attribute that tells the version where sw_version or fw_version is missing."
    )

    def __post_init__(self) -> None:
        _check_port(self.https_port, "devices.https_port")
        _check_port(self.http_port, "devices.http_port")
        _check_pair(self.certificate, self.key, "devices")
        _check_url(self.public_url, "devices.public_url")
        _check(self.connections_most >= 1, "devices.connections_most must be 1 or more")
        _check(
            self.handling in ("forced", "soft"),
            f"devices.handling is forced or soft, not {self.handling!r}",
        )
        _check(
            1 <= self.poll_s < 86_400,
            "devices.poll_s must be from 1 to 86399: devices read it as HH:MM:SS below a day",
        )
        _check(
            self.online_s is None or self.online_s >= self.poll_s,
            f"devices.online_s must not be below devices.poll_s ({self.poll_s}), "
            "or devices would be offline between two polls",
        )
        _check(
            self.https_port is not None or self.http_port is not None,
            "devices.https_port and devices.http_port are both empty: devices could not reach the platform",
        )
        _check(
            not self.https_port or self.https_port != self.http_port,
            "devices.https_port and devices.http_port must differ",
        )

    @property
    def silence_s(self) -> int:
        """How long a device that says nothing still counts as online."""
        return max(900, 3 * self.poll_s) if self.online_s is None else self.online_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """The door of the operator API under ``/api/v1``, of health and of metrics, over TCP. Its Unix socket in
    the data folder is open whatever is set here.
    """

    host: str = setting(
        "127.0.0.1", "The address it listens on; on another one than loopback it speaks HTTPS only."
    )
    port: int | None = setting(
        8780, "The port it listens on; 0 takes a free one, empty means no TCP listener."
    )
    certificate: Path | None = setting(
        None,
        "PEM file with its certificate and chain; without it plain HTTP on loopback, and one made from a "
        "private CA elsewhere.",
    )
    key: Path | None = setting(None, "PEM file with the key of the certificate.")
    connections_most: int = setting(200, "Open connections; more are closed at once.")

    def __post_init__(self) -> None:
        _check_port(self.port, "operator.port")
        _check_pair(self.certificate, self.key, "operator")
        _check(self.connections_most >= 1, "operator.connections_most must be 1 or more")

    @property
    def tls(self) -> bool:
        """Whether it speaks HTTPS: a token must not cross a network in the clear."""
        return self.certificate is not None or not self.is_local

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return _is_loopback(self.host)


def _is_loopback(host: str) -> bool:
    """Whether only this machine reaches it.

    >>> _is_loopback("127.0.0.1"), _is_loopback("::1"), _is_loopback("localhost"), _is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Callbacks:
    """How push messages are posted."""

    allow_http: bool = setting(False, "Whether callback URLs may be plain http.")
    deadline_s: float = setting(15.0, "The longest a POST may take, from the name lookup to the answer.")
    connect_s: float = setting(5.0, "The longest a connection may take to be made.")
    connections_per_host: int = setting(
        64, "Connections to one host and port; posts beyond them wait, and the wait counts to their deadline."
    )
    answer_bytes: int = setting(16_384, "How much of an answer is read.")

    def __post_init__(self) -> None:
        _check(
            0 < self.connect_s <= self.deadline_s,
            "callbacks.connect_s must be above 0 and not above callbacks.deadline_s, which covers it",
        )
        _check(self.connections_per_host >= 1, "callbacks.connections_per_host must be 1 or more")
        _check(self.answer_bytes >= 0, "callbacks.answer_bytes must be 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """Which addresses push messages may go to."""

    allow: tuple[str, ...] = setting(
        (),
        "Networks that are open although they are loopback, private, link-local or reserved, "
        'such as "10.20.0.0/16".',
    )

    def __post_init__(self) -> None:
        for network in self.allow:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise ConfigInvalid(
                    f"egress.allow takes networks such as 10.20.0.0/16: {network!r} is none ({error})"
                ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """When push messages leave, and when they are tried again."""

    window_first: int = setting(4, "Posts under way at one endpoint in the beginning.")
    window_most: int = setting(64, "Posts under way at one endpoint at most.")
    at_once_most: int = setting(256, "Posts under way at all endpoints together.")
    poll_s: float = setting(1.0, "The longest that a lost hint can delay a push.")
    unreachable_s: tuple[float, ...] = setting(
        (5, 30, 120, 600, 1800, 3600),
        "How long an endpoint that fails rests before its next probe; the last time repeats.",
    )
    refused_s: tuple[float, ...] = setting(
        (5, 30, 300, 1800, 3600),
        "The waits of a message that is refused while others succeed; then it is given up.",
    )
    horizon_s: float = setting(
        604_800.0, "A message that has waited through so much rest of its endpoint is given up."
    )
    jitter: float = setting(0.2, "A wait is stretched by a random share of itself, up to this one.")

    def __post_init__(self) -> None:
        _check(
            1 <= self.window_first <= self.window_most,
            "dispatch.window_first must be from 1 to dispatch.window_most",
        )
        _check(
            self.at_once_most >= self.window_most,
            "dispatch.at_once_most must not be below dispatch.window_most, which could never be reached",
        )
        _check(self.poll_s > 0, "dispatch.poll_s must be above 0")
        _check(
            bool(self.unreachable_s) and min(self.unreachable_s) > 0,
            "dispatch.unreachable_s needs at least one wait, each above 0",
        )
        _check(all(wait > 0 for wait in self.refused_s), "dispatch.refused_s takes waits above 0")
        _check(
            self.horizon_s >= max(self.unreachable_s),
            "dispatch.horizon_s must not be below the longest wait of dispatch.unreachable_s, "
            "or that wait is never used",
        )
        _check(0 <= self.jitter <= 1, "dispatch.jitter is a share from 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """How much is kept."""

    reserve_bytes: int = setting(
        268_435_456, "Free disk that uploads leave alone, so that reports can still be kept."
    )
    report_reserve_bytes: int = setting(
        33_554_432, "Free disk below which reports are refused, so that deliveries can still be recorded."
    )
    notes_most: int = setting(100, "Audit notes kept of each attempt.")
    log_days: float | None = setting(
        30.0,
        "How long a notification can be pulled, and a delivery stays in the log after its end; dead ones "
        "stay. Empty: for ever.",
    )

    def __post_init__(self) -> None:
        _check(
            0 <= self.report_reserve_bytes <= self.reserve_bytes,
            "storage.report_reserve_bytes must be from 0 to storage.reserve_bytes: uploads stop first",
        )
        _check(self.notes_most >= 1, "storage.notes_most must be 1 or more")
        _check(
            self.log_days is None or self.log_days > 0,
            "storage.log_days must be above 0, or empty to keep everything",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasks:
    """How long the steps of an upgrade may take, and what a task's policy leaves open."""

    online_wait_s: float = setting(
        86_400.0, "How long a device may take to notice its offer; a window of the task replaces it."
    )
    download_s: float = setting(3600.0, "How long a device may take from there until it has the package.")
    result_s: float = setting(
        1800.0,
        "How long a device may take from there, and again from the start of its installation, "
        "until it tells the result.",
    )
    same_version: str = setting(
        "success",
        "What becomes of a device that runs the target version already: success, fail, or install (again).",
    )
    retry_wait_s: float = setting(
        60.0, "The time between the end of a task's last sub task and the retry of those that failed."
    )
    poll_s: float = setting(
        1.0, "The longest it takes upkeep to see that another process made something due for a task."
    )

    def __post_init__(self) -> None:
        for name in ("online_wait_s", "download_s", "result_s", "poll_s"):
            _check(getattr(self, name) > 0, f"tasks.{name} must be above 0")
        _check(self.retry_wait_s >= 0, "tasks.retry_wait_s must be 0 or more")
        _check(
            self.same_version in ("success", "fail", "install"),
            f"tasks.same_version is success, fail or install, not {self.same_version!r}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """What push messages say where the documents leave a choice."""

    upgrade_time_as_number: bool = setting(
        False, "Whether upgradeTime is a JSON number; without it, the same seconds as a string."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """The log, on standard error."""

    level: str = setting("info", "debug, info, warning or error.")
    json: bool = setting(False, "One JSON object a line instead of text for people.")

    def __post_init__(self) -> None:
        _check(
            self.level in ("debug", "info", "warning", "error"),
            f"logging.level must be debug, info, warning or error, not {self.level!r}",
        )


def default_folder(environment: Mapping[str, str]) -> Path:
    """Where a user's data lives when nobody says otherwise.

    >>> str(default_folder({"HOME": "/home/ann"}))
    '/home/ann/.local/share/fleetbell'
    """
    home = environment.get("XDG_DATA_HOME") or str(Path(environment.get("HOME") or "~") / ".local/share")
    return Path(home).expanduser() / "fleetbell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set."""

    folder: Path = field(metadata={"about": "The data folder: database, packages, certificates, socket."})
    dev: bool = setting(
        False,
        "For trying out: opens loopback and private callback addresses, plain http callbacks, and plain HTTP "
        "for devices on port 8080.",
    )
    roles: tuple[str, ...] = setting(ROLES, "What this process does: doors, dispatch, upkeep.")
    northbound: Northbound = field(default_factory=Northbound)
    devices: Devices = field(default_factory=Devices)
    operator: Operator = field(default_factory=Operator)
    callbacks: Callbacks = field(default_factory=Callbacks)
    egress: Egress = field(default_factory=Egress)
    dispatch: Dispatch = field(default_factory=Dispatch)
    storage: Storage = field(default_factory=Storage)
    tasks: Tasks = field(default_factory=Tasks)
    messages: Messages = field(default_factory=Messages)
    logging: Logging = field(default_factory=Logging)

    @property
    def operator_socket(self) -> Path:
        """Where a running platform listens to the command line."""
        return self.folder / "operator.sock"

    def __post_init__(self) -> None:
        _check(
            len(os.fsencode(self.operator_socket)) <= _SOCKET_PATH_BYTES,
            f"folder is too long for a Unix socket in it ({_SOCKET_PATH_BYTES} bytes with its name): "
            f"{self.folder}",
        )
        for role in self.roles:
            _check(role in ROLES, f"roles knows {', '.join(ROLES)}, not {role!r}{_meant(role, ROLES)}")
        _check(bool(self.roles), f"roles is empty: name at least one of {', '.join(ROLES)}")
        taken: dict[int, str] = {}
        for name, port in (
            ("northbound.port", self.northbound.port),
            ("devices.https_port", self.devices.https_port),
            ("devices.http_port", self.devices.http_port),
            ("operator.port", self.operator.port),
        ):
            if port:
                _check(port not in taken, f"{taken.get(port)} and {name} are both {port}: they must differ")
                taken[port] = name


@dataclass(frozen=True, slots=True)
class Known:
    """One setting as the code knows it: its name, type, default and sentence."""

    name: str
    kind: object
    default: object
    about: str

    @property
    def variable(self) -> str:
        """The environment variable that sets it.

        >>> Known("northbound.port", int, 8743, "").variable
        'FLEETBELL_NORTHBOUND__PORT'
        """
        return PREFIX + self.name.upper().replace(".", "__")


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and for each name where its value came from."""

    settings: Settings
    origins: Mapping[str, str]

    def values(self) -> Iterator[tuple[str, object, str]]:
        """Name, value and origin of every setting, in the order of the tree."""
        for known in KNOWN.values():
            value: object = self.settings
            for part in known.name.split("."):
                value = getattr(value, part)
            yield known.name, value, self.origins[known.name]


def _known(group: type, prefix: str = "") -> Iterator[Known]:
    hints = typing.get_type_hints(group)
    for item in fields(group):
        kind = hints[item.name]
        if isinstance(kind, type) and is_dataclass(kind):
            yield from _known(kind, f"{item.name}.")
        else:
            default = None if item.default is MISSING else item.default
            yield Known(prefix + item.name, kind, default, item.metadata["about"])


KNOWN: Final[Mapping[str, Known]] = {known.name: known for known in _known(Settings)}
"""Every setting by its dotted name, in the order of the tree."""

SECTIONS: Final[Mapping[str, str]] = {
    item.name: (kind.__doc__ or "")
    for item in fields(Settings)
    if is_dataclass(kind := typing.get_type_hints(Settings)[item.name])
}
"""Each section and its sentence."""


def load(
    *,
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
    command_line: Mapping[str, object] | None = None,
) -> Loaded:
    """Read the settings from everywhere.

    ``command_line`` has dotted names and either values of the right type or texts. Without ``file`` the
    environment may name one (``FLEETBELL_CONFIG``); else ``fleetbell.toml`` in the data folder is read when
    it is there.

    Raises:
        ConfigInvalid: with a sentence that names the setting, where it was given, and what would be right.
    """
    environment = os.environ if environment is None else environment
    given: dict[str, object] = {}
    origins: dict[str, str] = {}
    variables = dict(_from_environment(environment))
    arguments = {_checked(name, "command line"): value for name, value in (command_line or {}).items()}

    def lay(values: Mapping[str, object], origin: str, beside: Path | None = None) -> None:
        for name, value in values.items():
            given[name] = _value(KNOWN[name], value, origin, beside)
            origins[name] = origin

    def lay_outer() -> None:
        for name, text in variables.items():
            lay({name: text}, KNOWN[name].variable)
        lay(arguments, "command line")

    lay_outer()
    if file is None and environment.get(FILE_VARIABLE):
        file = Path(environment[FILE_VARIABLE])
    named = file is not None
    if file is None:
        file = cast(Path, given.get("folder") or default_folder(environment)) / FILE_NAME
    in_file = _from_file(file, must_be_there=named)
    if "folder" in in_file and not named:
        raise ConfigInvalid(f"{file} is found by the data folder, so it cannot name another one (folder)")
    lay(in_file, str(file), file.parent)
    lay_outer()
    return _loaded(given, origins, environment)


def _loaded(given: dict[str, object], origins: dict[str, str], environment: Mapping[str, str]) -> Loaded:
    if given.get("dev"):
        for name, value in DEV_DEFAULTS.items():
            if name not in given:
                given[name], origins[name] = value, "dev"
        allowed = cast(tuple[str, ...], given.get("egress.allow", ()))
        given["egress.allow"] = (*allowed, *(n for n in DEV_NETWORKS if n not in allowed))
        origins["egress.allow"] = f"{origins['egress.allow']} and dev" if "egress.allow" in origins else "dev"
    given.setdefault("folder", default_folder(environment))
    given["folder"] = cast(Path, given["folder"]).expanduser().absolute()
    settings = cast(Settings, _built(Settings, given))
    return Loaded(settings, {name: origins.get(name, "default") for name in KNOWN})


def _built(group: type, given: Mapping[str, object], prefix: str = "") -> object:
    hints = typing.get_type_hints(group)
    values: dict[str, object] = {}
    for item in fields(group):
        kind, name = hints[item.name], prefix + item.name
        if isinstance(kind, type) and is_dataclass(kind):
            values[item.name] = _built(kind, given, f"{item.name}.")
        elif name in given:
            values[item.name] = given[name]
    return cast(object, group(**values))


def _meant(name: str, among: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, among, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _checked(name: str, where: str) -> str:
    if name not in KNOWN:
        raise ConfigInvalid(f"{where}: there is no setting {name}{_meant(name, tuple(KNOWN))}")
    return name


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Our variables. Others may share the prefix (an application's own); only ``A__B`` is surely meant."""
    by_variable = {known.variable: known.name for known in KNOWN.values()}
    for variable, text in environment.items():
        if variable in by_variable:
            yield by_variable[variable], text
        elif variable.startswith(PREFIX) and "__" in variable:
            raise ConfigInvalid(
                f"environment: there is no setting {variable}{_meant(variable, tuple(by_variable))}"
            )


def _from_file(file: Path, *, must_be_there: bool) -> dict[str, object]:
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        if must_be_there:
            raise ConfigInvalid(f"there is no settings file {file}") from None
        return {}
    except OSError as error:
        raise ConfigInvalid(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"{file} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid(f"{file} is not TOML: {error}") from error
    found: dict[str, object] = {}
    for name, value in tree.items():
        if name in SECTIONS:
            if not isinstance(value, dict):
                raise ConfigInvalid(f"{file}: {name} is a section, written [{name}]")
            found |= {_checked(f"{name}.{inner}", str(file)): deeper for inner, deeper in value.items()}
        elif name not in KNOWN:
            meant = _meant(name, (*SECTIONS, *KNOWN))
            raise ConfigInvalid(f"{file}: there is no setting or section {name}{meant}")
        else:
            found[name] = value
    return found


def _value(known: Known, raw: object, origin: str, beside: Path | None) -> object:
    """``raw`` as the type of its setting; texts of the environment and the command line are read."""
    optional = isinstance(known.kind, UnionType) and type(None) in typing.get_args(known.kind)
    if raw is None or (optional and raw == ""):
        if optional:
            return None
        raise ConfigInvalid(f"{origin}: {known.name} needs a value, {_wanted(known.kind)}")
    is_list = typing.get_origin(known.kind) is tuple
    if isinstance(raw, str) and is_list:
        raw = [part.strip() for part in raw.split(",") if part.strip()]
    try:
        value = msgspec.convert(raw, known.kind, strict=beside is not None, dec_hook=_path)
    except (msgspec.ValidationError, TypeError) as error:
        raise ConfigInvalid(f"{origin}: {known.name} must be {_wanted(known.kind)}, not {raw!r}") from error
    if isinstance(value, Path) and beside is not None:
        return beside / value  # a path in a file is meant from where the file is
    return value


def _path(kind: type, raw: object) -> Path:
    if kind is Path and isinstance(raw, str | Path):
        return Path(raw).expanduser()
    raise TypeError(kind)


_WORDS: Final[Mapping[object, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
}


def _wanted(kind: object) -> str:
    """The type of a setting in words.

    >>> _wanted(tuple[float, ...])
    'a list of numbers'
    >>> _wanted(int | None)
    'a whole number or empty'
    """
    if typing.get_origin(kind) is tuple:
        return f"a list of {_wanted(typing.get_args(kind)[0]).split(' ', 1)[1]}s"
    if isinstance(kind, UnionType):
        [inner] = [each for each in typing.get_args(kind) if each is not type(None)]
        return f"{_wanted(inner)} or empty"
    return _WORDS[kind]


def reference() -> str:
    """The reference page of all settings, in Markdown."""
    lines = [_PAGE_HEAD]
    section = None
    for known in KNOWN.values():
        head, _, name = known.name.rpartition(".")
        if head != section:
            section = head
            title = f"## `[{head}]`\n\n{SECTIONS[head]}" if head else "## Top level"
            lines.append(f"\n{title}\n\n| setting | value | default | what it is |\n|---|---|---|---|")
        default = _PAGE_FOLDER if known.name == "folder" else toml(known.default)
        lines.append(
            f"| `{name}` | {_wanted(known.kind)} | {f'`{default}`' if default else 'empty'} | {known.about} |"
        )
    return "\n".join(lines) + "\n"


def toml(value: object) -> str:
    """A value as TOML writes it; nothing for an empty one.

    >>> toml(("a", "b")), toml(True), toml(None), toml(2.0)
    ('["a", "b"]', 'true', '', '2')
    """
    match value:
        case None:
            return ""
        case tuple():
            return f"[{', '.join(toml(item) for item in value)}]"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}" if value < 1e6 else str(int(value))
        case int():
            return str(value)
        case _:
            return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


_PAGE_FOLDER: Final = "~/.local/share/fleetbell"
_PAGE_HEAD: Final = f"""\
# Settings

Made from `server/src/fleetbell/config.py`; a test fails when this page is out of date. To write it anew:
`fleetbell config reference settings > docs/reference/settings.md`.

A value comes from the first of these that has it:

1. the command line: `--set northbound.port=9000`, and the options of their own such as `--dev`;
2. the environment: `FLEETBELL_NORTHBOUND__PORT=9000` (two underscores between section and name; lists with
   commas; empty for none);
3. the TOML file: `{FILE_NAME}` in the data folder, or the one named by `--config` or `{FILE_VARIABLE}`;
4. the `--dev` switch;
5. the default.

An unknown name is refused, with the nearest known one. `fleetbell config show` prints every value and where
it came from. Sizes are in bytes (`_bytes`), times in seconds (`_s`)."""
