"""Try a receiver out: make push messages, sign them, and hand or post them to it.

>>> from fleetbell_sdk import Receiver, SoftwareResult
>>> secret = new_secret(bytes(24))
>>> receiver = Receiver(secret)
>>> @receiver.on(SoftwareResult)
... def finished(message):
...     print(message.device_id, message.result)
>>> deliver(receiver, software_result(device_id="dev-a"), secret=secret).status
dev-a SUCCESS
200
"""

from __future__ import annotations

import http.client
import secrets
import ssl
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from fleetbell_sdk.receiver import Receiver, Reply
from fleetbell_sdk.signature import (
    ATTEMPT_HEADER,
    ID_HEADER,
    REPLAY_HEADER,
    SEQUENCE_HEADER,
    SIGNATURE_HEADER,
    SKIPPED_HEADER,
    TIMESTAMP_HEADER,
    PrivateKey,
    Secret,
    new_private_key,
    new_secret,
    signer,
)
from fleetbell_sdk.wire import (
    FIRMWARE_STEPS,
    FirmwareResult,
    FirmwareStateChanged,
    SoftwareResult,
    SoftwareStateChanged,
    UpgradeMessage,
    UpgradeResult,
    UpgradeState,
    encode,
)

__all__ = [
    "deliver",
    "firmware_result",
    "firmware_state",
    "new_private_key",
    "new_secret",
    "post",
    "push_headers",
    "software_result",
    "software_state",
]

Key = Secret | PrivateKey | str
"""What the platform signs with; a text is read by its prefix, ``whsec_`` or ``whsk_``."""


def software_state(
    state: UpgradeState = UpgradeState.DOWNLOADING,
    *,
    device_id: str = "dev-a",
    app_id: str = "app-0001",
    operation_id: str = "op-300",
    sub_operation_id: str = "sop-1",
) -> SoftwareStateChanged:
    """A message of a software upgrade under way."""
    return SoftwareStateChanged(device_id, app_id, operation_id, sub_operation_id, state)


def firmware_state(
    state: UpgradeState = UpgradeState.DOWNLOADING,
    *,
    device_id: str = "dev-c",
    app_id: str = "app-0001",
    operation_id: str = "op-301",
    sub_operation_id: str = "sop-9",
) -> FirmwareStateChanged:
    """A message of a firmware upgrade under way."""
    step = FIRMWARE_STEPS.get(state, "")
    return FirmwareStateChanged(device_id, app_id, operation_id, sub_operation_id, step, state)


def software_result(
    result: UpgradeResult = UpgradeResult.SUCCESS,
    *,
    device_id: str = "dev-a",
    app_id: str = "app-0001",
    operation_id: str = "op-300",
    sub_operation_id: str = "sop-1",
    target_version: str = "V1.1.0",
    source_version: str = "V1.0.0",
    description: str = "",
) -> SoftwareResult:
    """A message of a software upgrade that ended; a failed one leaves the old version."""
    good = result == UpgradeResult.SUCCESS
    return SoftwareResult(
        device_id=device_id,
        app_id=app_id,
        operation_id=operation_id,
        sub_operation_id=sub_operation_id,
        cur_version=target_version if good else source_version,
        target_version=target_version,
        source_version=source_version,
        result=result,
        upgrade_time="259",
        result_desc=result.value,
        error_code="0" if good else "4",
        description=description or ("success" if good else "low battery"),
    )


def firmware_result(
    result: UpgradeResult = UpgradeResult.SUCCESS,
    *,
    device_id: str = "dev-c",
    app_id: str = "app-0001",
    operation_id: str = "op-301",
    sub_operation_id: str = "sop-9",
    target_version: str = "F2.0",
    source_version: str = "F1.4",
    status_desc: str = "",
) -> FirmwareResult:
    """A message of a firmware upgrade that ended; a failed one leaves the old version."""
    good = result == UpgradeResult.SUCCESS
    return FirmwareResult(
        device_id=device_id,
        app_id=app_id,
        operation_id=operation_id,
        sub_operation_id=sub_operation_id,
        cur_version=target_version if good else source_version,
        target_version=target_version,
        source_version=source_version,
        status=result,
        status_desc=status_desc or result.value,
        upgrade_time="640",
    )


def push_headers(
    body: bytes,
    *,
    secret: Key | Iterable[Key] | None,
    webhook_id: str | None = None,
    at_s: int | None = None,
    sequence: int = 1,
    attempt: int = 1,
    skipped: int = 0,
    is_replay: bool = False,
) -> dict[str, str]:
    """The headers a platform would send with ``body``; without a secret there is no signature.

    A private key, ``whsk_...``, in the place of a secret or beside it makes a ``v1a`` signature.

    Each call makes another ``webhook_id``, also in another run, so that a receiver which remembers what it
    has seen takes it for new. The time is now. Both can be given.
    """
    message_id = webhook_id or f"test-{secrets.token_hex(8)}"
    timestamp_s = int(time.time()) if at_s is None else at_s
    headers = {
        "Content-Type": "application/json",
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: str(timestamp_s),
        SEQUENCE_HEADER: str(sequence),
        ATTEMPT_HEADER: str(attempt),
    }
    if secret is not None:
        headers[SIGNATURE_HEADER] = signer(*_keys(secret))(message_id, timestamp_s, body)
    if skipped:
        headers[SKIPPED_HEADER] = str(skipped)
    if is_replay:
        headers[REPLAY_HEADER] = "true"
    return headers


def deliver(receiver: Receiver, message: UpgradeMessage | bytes, *, secret: Key | None = None) -> Reply:
    """Hand ``message`` to ``receiver`` in this process. :func:`push_headers` makes headers to your taste."""
    body = message if isinstance(message, bytes) else encode(message)
    return receiver.receive(body, push_headers(body, secret=secret))


def post(
    url: str,
    message: UpgradeMessage | bytes,
    *,
    secret: Key | None = None,
    headers: dict[str, str] | None = None,
    ca: ssl.SSLContext | None = None,
    timeout_s: float = 15.0,
) -> Reply:
    """Post ``message`` to a receiver that listens at ``url``, as the platform would.

    ``headers`` replaces what :func:`push_headers` would make of ``secret``.

    Raises:
        OSError: the receiver was not reached, or its certificate is not trusted.
    """
    body = message if isinstance(message, bytes) else encode(message)
    sent = push_headers(body, secret=secret) if headers is None else headers
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        context = ca or ssl.create_default_context()
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, parts.port, context=context, timeout=timeout_s
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, body=body, headers=sent)
        answer = connection.getresponse()
        return Reply(answer.status, answer.read(), dict(answer.getheaders()))
    finally:
        connection.close()


def _keys(given: Key | Iterable[Key]) -> tuple[list[Secret], list[PrivateKey]]:
    several = [given] if isinstance(given, str | Secret | PrivateKey) else given
    keys = [_key(each) if isinstance(each, str) else each for each in several]
    secrets = [key for key in keys if isinstance(key, Secret)]
    return secrets, [key for key in keys if isinstance(key, PrivateKey)]


def _key(text: str) -> Secret | PrivateKey:
    return PrivateKey.parse(text) if text.strip().startswith("whsk_") else Secret.parse(text)
