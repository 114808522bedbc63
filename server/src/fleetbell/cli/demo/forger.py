"""Somebody who wants the application to believe things: forged and altered messages at its receiver."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from fleetbell.cli.demo.application import Genuine
from fleetbell_sdk import Secret
from fleetbell_sdk.signature import ID_HEADER, TIMESTAMP_HEADER
from fleetbell_sdk.testing import post, push_headers, software_result
from fleetbell_sdk.wire import encode


@dataclass(frozen=True, slots=True)
class Forgery:
    """One message that is not what it says."""

    how: str
    body: bytes
    headers: dict[str, str]


def forgeries(genuine: Genuine) -> Iterator[Forgery]:
    """Everything that can be tried without the secret, some of it from a message that was overheard."""
    made_up = encode(software_result(device_id="forged"))
    yield Forgery("not signed", made_up, push_headers(made_up, secret=None))
    stranger = Secret(secrets.token_bytes(32))
    yield Forgery("signed with another secret", made_up, push_headers(made_up, secret=stranger))
    borrowed = {name.lower(): value for name, value in genuine.headers.items()}
    borrowed.pop("content-length", None)
    yield Forgery("another body under an overheard signature", made_up, borrowed)
    altered = genuine.body.replace(b'":"', b'":"x', 1)
    yield Forgery("one character more", altered, borrowed)
    yield Forgery("another id", genuine.body, {**borrowed, ID_HEADER: "1"})
    later = str(int(borrowed[TIMESTAMP_HEADER]) + 1)
    yield Forgery("another time", genuine.body, {**borrowed, TIMESTAMP_HEADER: later})


def post_forgeries(url: str, genuine: Genuine, ca: ssl.SSLContext) -> tuple[int, list[str]]:
    """How many were posted, and how those that were accepted were made."""
    tried = list(forgeries(genuine))
    accepted = [
        forgery.how
        for forgery in tried
        if 200 <= post(url, forgery.body, headers=forgery.headers, ca=ca).status < 300
    ]
    return len(tried), accepted
