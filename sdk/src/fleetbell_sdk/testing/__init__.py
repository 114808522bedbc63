"""Try a receiver out: make push messages and whole stories of them, sign them, and hand or post them to it.

>>> from fleetbell_sdk import Receiver, SoftwareResult
>>> secret = new_secret(bytes(24))
>>> receiver = Receiver(secret)
>>> @receiver.on(SoftwareResult)
... def finished(message):
...     print(message.device_id, message.result, message.description)
>>> deliver(receiver, software_result(device_id="dev-a"), secret=secret).status
dev-a SUCCESS success
200

Whatever can go wrong comes before it does in the field: each result code, repeats, gaps, forgeries.

>>> for delivery in story(outcome="7").repeated(-1):  # the result comes twice
...     _ = deliver(receiver, delivery, secret=secret)
dev-a FAIL package check failed
dev-a FAIL package check failed
>>> {name: deliver(receiver, wrong(software_result(), secret)).status for name, wrong in WRONG.items()}
{'unsigned': 401, 'forged': 401, 'altered': 401, 'truncated': 401, 'stale': 401, 'ahead': 401}
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from fleetbell_sdk.signature import new_private_key, new_secret
from fleetbell_sdk.testing.messages import (
    REASONS,
    RESULT_CODES,
    Outcome,
    body_of,
    device_added,
    device_deleted,
    device_info_changed,
    firmware_result,
    firmware_state,
    other_message,
    outcome_of,
    software_result,
    software_state,
)
from fleetbell_sdk.testing.posting import deliver, deliver_async, post, post_asgi, post_wsgi
from fleetbell_sdk.testing.signing import (
    WRONG,
    Delivery,
    Signed,
    ahead,
    altered,
    forged,
    push_headers,
    stale,
    truncated,
    unsigned,
)
from fleetbell_sdk.testing.story import Story, story

if TYPE_CHECKING:
    from fleetbell_sdk.testing.fake import Called, FakePlatform, NotDelivered, Pushed

__all__ = [
    "REASONS",
    "RESULT_CODES",
    "WRONG",
    "Called",
    "Delivery",
    "FakePlatform",
    "NotDelivered",
    "Outcome",
    "Pushed",
    "Signed",
    "Story",
    "ahead",
    "altered",
    "body_of",
    "deliver",
    "deliver_async",
    "device_added",
    "device_deleted",
    "device_info_changed",
    "firmware_result",
    "firmware_state",
    "forged",
    "new_private_key",
    "new_secret",
    "other_message",
    "outcome_of",
    "post",
    "post_asgi",
    "post_wsgi",
    "push_headers",
    "software_result",
    "software_state",
    "stale",
    "story",
    "truncated",
    "unsigned",
]

_OF_THE_FAKE: Final = {"Called", "FakePlatform", "NotDelivered", "Pushed"}


def __getattr__(name: str) -> object:
    """The fake platform is loaded when it is first used: a test of a receiver alone does not pay for it."""
    if name not in _OF_THE_FAKE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.fake"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
