"""The bodies of the DDI door: bytes to values and back. Pure.

Requests are read leniently: what agents add is ignored, and a log line with broken UTF-8 in it is no reason
to refuse a report. Answers carry the types that agents insist on (``docs/reference/ddi.md``).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from fleetbell.domain.package import Package
from fleetbell.domain.subtask import SubTaskStatus, UpgradeKind
from fleetbell.errors import InputInvalid

TEXT_LENGTH_MOST = 1000  # characters kept of the details of one report
ATTRIBUTES_MOST = 100
ATTRIBUTE_LENGTH_MOST = 1024
HISTORY_MOST = 100


_CODE_LENGTH_MOST = 32

Finished = Literal["success", "failure", "none"]


class Execution(enum.StrEnum):
    """What a device says it does with an action."""

    CLOSED = "closed"
    DOWNLOAD = "download"
    DOWNLOADED = "downloaded"
    PROCEEDING = "proceeding"
    SCHEDULED = "scheduled"
    RESUMED = "resumed"
    REJECTED = "rejected"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class Feedback:
    """One report of a device about one action.

    ``details`` are its lines joined. ``finished`` counts with ``CLOSED`` only, and ``none`` is as good as
    ``success`` there.
    """

    execution: Execution
    finished: Finished = "none"
    code: int | None = None
    details: str = ""

    @property
    def error_code(self) -> str:
        """The device's own code of a failure, or "". A 0 would read as a success, so it counts as none."""
        return str(self.code)[:_CODE_LENGTH_MOST] if self.code else ""

    @property
    def note(self) -> str:
        """The report as one audit text of at most 1,000 characters.

        >>> Feedback(Execution.CLOSED, "failure", 7, "no space left").note
        'closed, failure, code 7: no space left'
        """
        words = [self.execution.value]
        if self.execution is Execution.CLOSED:
            words.append(self.finished)
        if self.error_code:
            words.append(f"code {self.error_code}")
        head = ", ".join(words)
        return f"{head}: {self.details}"[:TEXT_LENGTH_MOST] if self.details else head


class _Result(msgspec.Struct):
    finished: Finished = "none"


class _Status(msgspec.Struct):
    execution: Execution
    result: _Result = msgspec.field(default_factory=_Result)
    code: int | None = None
    details: list[object] | str | None = None


class _Feedback(msgspec.Struct):
    status: _Status


class AttributeMode(enum.StrEnum):
    """What a device wants done with the attributes it sends."""

    MERGE = "merge"
    REPLACE = "replace"
    REMOVE = "remove"


class _ConfigData(msgspec.Struct):
    data: dict[str, str | None]
    mode: AttributeMode = AttributeMode.MERGE


_read_feedback = msgspec.json.Decoder(_Feedback).decode
_read_config_data = msgspec.json.Decoder(_ConfigData).decode


def read_feedback(body: bytes) -> Feedback:
    """The report in ``body``.

    Broken UTF-8 inside a text becomes the replacement character: it comes from the log of some program on the
    device, and agents repeat a refused report for ever.

    Raises:
        InputInvalid: no JSON, a field missing or of the wrong type, or a word that is not in the protocol.

    >>> read_feedback(b'{"id":7,"status":{"execution":"closed","result":{"finished":"none"}}}')
    Feedback(execution=<Execution.CLOSED: 'closed'>, finished='none', code=None, details='')
    """
    try:
        status = _read_feedback(body.decode("utf-8", "replace")).status
    except (msgspec.DecodeError, RecursionError) as error:
        raise InputInvalid(
            f"the feedback cannot be read: {error}; right would be "
            '{"status":{"execution":"closed","result":{"finished":"success"},"details":[]}}'
        ) from error
    return Feedback(status.execution, status.result.finished, status.code, _joined(status.details))


def _joined(details: Sequence[object] | str | None) -> str:
    """One text of the lines, cut while joining so that a huge report costs little."""
    if not details:
        return ""
    if isinstance(details, str):
        return details[:TEXT_LENGTH_MOST]
    kept, length = [], 0
    for line in details:
        text = str(line)[:TEXT_LENGTH_MOST]
        kept.append(text)
        length += len(text) + 1
        if length > TEXT_LENGTH_MOST:
            break
    return "\n".join(kept)[:TEXT_LENGTH_MOST]


@dataclass(frozen=True, slots=True)
class ConfigData:
    """Attributes that a device tells of itself, and what to do with them."""

    mode: AttributeMode
    data: Mapping[str, str]

    def applied_to(self, attributes: Mapping[str, str]) -> dict[str, str]:
        """The device's attributes afterwards.

        Raises:
            InputInvalid: there would be more than 100.

        >>> ConfigData(AttributeMode.REMOVE, {"a": ""}).applied_to({"a": "1", "b": "2"})
        {'b': '2'}
        """
        if self.mode is AttributeMode.REMOVE:
            return {key: value for key, value in attributes.items() if key not in self.data}
        after = dict(self.data) if self.mode is AttributeMode.REPLACE else {**attributes, **self.data}
        if len(after) > ATTRIBUTES_MOST:
            raise InputInvalid(
                f"a device may have {ATTRIBUTES_MOST} attributes, these would be {len(after)}; "
                'send fewer, or "mode":"replace"'
            )
        return after


def read_config_data(body: bytes) -> ConfigData:
    """The attributes in ``body``.

    Raises:
        InputInvalid: no JSON, no attributes, a value that is no string, or one longer than 1,024 characters.
    """
    try:
        read = _read_config_data(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputInvalid(
            f"the attributes cannot be read: {error}; right would be "
            '{"mode":"merge","data":{"name":"value"}}'
        ) from error
    if not read.data:
        raise InputInvalid('no attributes: "data" must name at least one')
    data: dict[str, str] = {}
    for key, value in read.data.items():
        if value is None and read.mode is not AttributeMode.REMOVE:
            raise InputInvalid(f'attribute {key[:64]!r} is null; to take it away send "mode":"remove"')
        if not key or max(len(key), len(value or "")) > ATTRIBUTE_LENGTH_MOST:
            raise InputInvalid(
                f"attribute {key[:64]!r}: a name has at least 1 character, "
                f"a name or value at most {ATTRIBUTE_LENGTH_MOST}"
            )
        data[key] = value or ""
    return ConfigData(read.mode, data)


class _Link(msgspec.Struct):
    href: str


class _Polling(msgspec.Struct):
    sleep: str


class _Config(msgspec.Struct):
    polling: _Polling


class _Poll(msgspec.Struct, rename={"links": "_links"}):
    config: _Config
    links: dict[str, _Link]


class _Hashes(msgspec.Struct):
    sha1: str
    md5: str
    sha256: str


class _Artifact(msgspec.Struct, rename={"links": "_links"}):
    filename: str
    hashes: _Hashes
    size: int
    links: dict[str, _Link]


class _Chunk(msgspec.Struct):
    part: str
    version: str
    name: str
    artifacts: list[_Artifact]


class _Deployment(msgspec.Struct):
    download: str
    update: str
    chunks: list[_Chunk]


class _History(msgspec.Struct):
    status: str
    messages: list[str]


class _DeploymentBase(msgspec.Struct, rename="camel", omit_defaults=True):
    id: str
    deployment: _Deployment
    action_history: _History | None = None


class _Stop(msgspec.Struct, rename="camel"):
    stop_id: str


class _CancelAction(msgspec.Struct, rename="camel"):
    id: str
    cancel_action: _Stop


class _Refusal(msgspec.Struct, rename="camel"):
    exception_class: str
    error_code: str
    message: str


_encode = msgspec.json.Encoder().encode

_PARTS = {UpgradeKind.SOFTWARE: "bApp", UpgradeKind.FIRMWARE: "os"}
_HISTORY_WORDS = {
    SubTaskStatus.WAIT: "RUNNING",
    SubTaskStatus.PROCESSING: "RUNNING",
    SubTaskStatus.SUCCESS: "FINISHED",
    SubTaskStatus.FAIL: "ERROR",
    SubTaskStatus.STOP: "CANCELED",
}


def sleep_text(seconds: int) -> str:
    """A poll interval as agents read it, ``HH:MM:SS``, below 24 hours.

    >>> sleep_text(3725)
    '01:02:05'
    """
    if not 0 < seconds < 86_400:
        raise InputInvalid(f"a poll interval lies between 1 and 86399 seconds, not {seconds}")
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}"


def poll_body(sleep: str, links: Mapping[str, str]) -> bytes:
    """The answer to a poll: how long to wait and where to look.

    >>> poll_body("00:05:00", {"configData": "https://h/c"})
    b'{"config":{"polling":{"sleep":"00:05:00"}},"_links":{"configData":{"href":"https://h/c"}}}'
    """
    return _encode(_Poll(_Config(_Polling(sleep)), {name: _Link(href) for name, href in links.items()}))


def _artifact(package: Package, file_url: str) -> _Artifact:
    """``file_url`` also gives the kind of link: agents prefer ``download``, which promises HTTPS."""
    secure = file_url.startswith("https:")
    digests = package.digests
    return _Artifact(
        package.file_name,
        _Hashes(digests.sha1, digests.md5, digests.sha256),
        package.size_bytes,
        {
            "download" if secure else "download-http": _Link(file_url),
            "md5sum" if secure else "md5sum-http": _Link(file_url + ".MD5SUM"),
        },
    )


def artifacts_body(package: Package, file_url: str) -> bytes:
    """The list of a module's files, which is one."""
    return _encode([_artifact(package, file_url)])


@dataclass(frozen=True, slots=True)
class History:
    """What was said about an action, the newest first."""

    status: SubTaskStatus
    messages: tuple[str, ...]


def deployment_body(
    action_id: int,
    package: Package,
    *,
    file_url: str,
    handling: Literal["forced", "attempt"],
    history: History | None,
) -> bytes:
    """An offer, or what was installed: one chunk with one file.

    The id is a string and the size an integer because agents insist on it.
    """
    chunk = _Chunk(_PARTS[package.kind], package.version, package.name, [_artifact(package, file_url)])
    told = None if history is None else _History(_HISTORY_WORDS[history.status], list(history.messages))
    return _encode(_DeploymentBase(str(action_id), _Deployment(handling, handling, [chunk]), told))


def cancel_body(action_id: int) -> bytes:
    """An offer that is taken back.

    >>> cancel_body(42)
    b'{"id":"42","cancelAction":{"stopId":"42"}}'
    """
    return _encode(_CancelAction(str(action_id), _Stop(str(action_id))))


def refusal_body(kind: str, message: str) -> bytes:
    """A refusal in the form that agents of this protocol log.

    >>> refusal_body("ActionEnded", "it has ended")
    b'{"exceptionClass":"ActionEnded","errorCode":"fleetbell.ddi.ActionEnded","message":"it has ended"}'
    """
    return _encode(_Refusal(kind, f"fleetbell.ddi.{kind}", message))
