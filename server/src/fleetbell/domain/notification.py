"""News turned into one of the four push messages. The bytes are fixed here and never change again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import msgspec

from fleetbell.domain.subtask import (
    Attempt,
    Ended,
    Finished,
    News,
    StateChanged,
    SubTaskStatus,
    UpgradeKind,
    UpgradeState,
)

# The news of upgrades. They are kept for every application, whether it has subscribed or not.
NOTIFY_TYPES = (
    "swUpgradeStateChangeNotify",
    "swUpgradeResultNotify",
    "fwUpgradeStateChangeNotify",
    "fwUpgradeResultNotify",
)
STATE_TYPES = ("swUpgradeStateChangeNotify", "fwUpgradeStateChangeNotify")


class _Body(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The fields that all four share, in the order of the documents."""

    notify_type: str
    device_id: str
    app_id: str
    operation_id: str
    sub_operation_id: str


class _SoftwareState(_Body, frozen=True, gc=False, rename="camel"):
    sw_upgrade_state: str


class _FirmwareState(_Body, frozen=True, gc=False, rename="camel"):
    step: str
    step_desc: str


class _SoftwareResult(_Body, frozen=True, gc=False, rename="camel"):
    cur_version: str
    target_version: str
    source_version: str
    sw_upgrade_result: str
    upgrade_time: str | int
    result_desc: str
    error_code: str
    description: str


class _FirmwareResult(_Body, frozen=True, gc=False, rename="camel"):
    cur_version: str
    target_version: str
    source_version: str
    status: str
    status_desc: str
    upgrade_time: str | int


_encode = msgspec.json.Encoder().encode
_WORDS = tuple(state.wire_name for state in UpgradeState)


@dataclass(frozen=True, slots=True)
class WebhookIds:
    """The ``webhook-id`` of each notification: its number, and the name of the store that gave it.

    A cursor is made of a number too: it stands behind the notification that has it, whosever that is.

    >>> ids = WebhookIds("5f2c")
    >>> ids.of(12), ids.number("msg-5f2c-12"), ids.number("msg-0000-12"), ids.number("msg-5f2c-1_2")
    ('msg-5f2c-12', 12, None, None)
    >>> ids.cursor(12), ids.number("cur-5f2c-12"), ids.place("cur-5f2c-12"), ids.place("msg-5f2c-12")
    ('cur-5f2c-12', None, 12, 12)
    """

    instance: str

    def of(self, number: int) -> str:
        """The id of the notification with this number."""
        return f"msg-{self.instance}-{number}"

    def cursor(self, number: int) -> str:
        """The cursor behind this number; 0 is before the first."""
        return f"cur-{self.instance}-{number}"

    def number(self, webhook_id: str) -> int | None:
        """The number in an id that :meth:`of` gave; None for every other text."""
        return _number_in(webhook_id, f"msg-{self.instance}-")

    def place(self, cursor: str) -> int | None:
        """The number that a cursor, or an id used as one, stands behind; None for every other text."""
        behind = _number_in(cursor, f"cur-{self.instance}-")
        return self.number(cursor) if behind is None else behind


def _number_in(text: str, prefix: str) -> int | None:
    digits = text.removeprefix(prefix)
    is_one = text.startswith(prefix) and digits.isascii() and digits.isdecimal() and len(digits) < 19
    return int(digits) if is_one else None


class Notification(msgspec.Struct, frozen=True, gc=False):
    """One push message. Its id, the ``webhook-id``, is the same whichever endpoint it goes to."""

    notify_type: str
    application_id: str
    device_id: str
    operation_id: str
    sub_operation_id: str
    body: str  # the very characters that are sent, as UTF-8
    made_at_ms: int


def notification(
    item: News, attempt: Attempt, *, at_ms: int, upgrade_time_as_number: bool = False
) -> Notification:
    """The message that tells ``item``; ``attempt`` is the attempt after it."""
    software = attempt.kind is UpgradeKind.SOFTWARE
    common = (
        attempt.device_id,
        attempt.application_id,
        attempt.operation_id,
        attempt.sub_operation_id,
    )
    body: _Body
    match item:
        case StateChanged(state):
            word = _WORDS[state]
            if software:
                body = _SoftwareState("swUpgradeStateChangeNotify", *common, word)
            else:
                body = _FirmwareState("fwUpgradeStateChangeNotify", *common, str(int(state)), word)
        case Finished(ended):
            body = _result(ended, attempt, common, upgrade_time_as_number=upgrade_time_as_number)
        case _:
            assert_never(item)
    return Notification(
        body.notify_type,
        attempt.application_id,
        attempt.device_id,
        attempt.operation_id,
        attempt.sub_operation_id,
        _encode(body).decode(),
        at_ms,
    )


def sample_body(application_id: str, kind: UpgradeKind) -> str:
    """The body of a message that tells of nothing: a state, whose made-up ids all begin with ``test-``.

    A state and not a result, because a receiver that takes it for news loses nothing but a line of a log.
    """
    common = ("test-device", application_id, "test-operation", "test-sub-operation")
    word = UpgradeState.DOWNLOADING.wire_name
    body: _Body
    if kind is UpgradeKind.SOFTWARE:
        body = _SoftwareState("swUpgradeStateChangeNotify", *common, word)
    else:
        number = str(int(UpgradeState.DOWNLOADING))
        body = _FirmwareState("fwUpgradeStateChangeNotify", *common, number, word)
    return _encode(body).decode()


def _result(
    ended: Ended, attempt: Attempt, common: tuple[str, str, str, str], *, upgrade_time_as_number: bool
) -> _Body:
    """The result message.

    ``upgradeTime`` is whole seconds from the attempt's start to its end, a decimal string unless a setting
    wants a number: one page of the documents says String, another long, none gives a unit.
    """
    success = ended.status is SubTaskStatus.SUCCESS
    after = attempt.version_after(ended)
    current = attempt.device_version if after is None else after
    seconds = ((attempt.ended_at_ms or 0) - (attempt.started_at_ms or 0)) // 1000
    taken = seconds if upgrade_time_as_number else str(seconds)
    versions = (current, attempt.target_version, attempt.source_version or "")
    word = "SUCCESS" if success else "FAIL"
    if attempt.kind is UpgradeKind.SOFTWARE:
        return _SoftwareResult(
            "swUpgradeResultNotify",
            *common,
            *versions,
            word,
            taken,
            ended.result_desc,
            ended.error_code,
            ended.description,
        )
    # A firmware message has no field for the reason, so its description carries it
    # (southbound contract, 6.2).
    reason = ended.result_desc if success else ended.description or ended.result_desc
    return _FirmwareResult("fwUpgradeResultNotify", *common, *versions, word, reason, taken)


class _Ids(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    device_id: str | None = None
    operation_id: str | None = None
    sub_operation_id: str | None = None


_ids = msgspec.json.Decoder(_Ids).decode


def ids_in(body: str) -> dict[str, str]:
    """Whom a push message is about, read back from its body: for the log, which is written seldom and must
    never be what a delivery fails by.

    >>> ids_in("no JSON")
    {}
    >>> ids_in('{"notifyType":"swUpgradeResultNotify","deviceId":"dev-1","operationId":"op-1"}')
    {'device_id': 'dev-1', 'operation_id': 'op-1'}
    """
    try:
        found = msgspec.structs.asdict(_ids(body))
    except msgspec.DecodeError:  # a ValidationError too
        return {}
    return {name: value for name, value in found.items() if value is not None}
