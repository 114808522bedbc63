"""How this door says no: ``application/problem+json`` with a sentence for the person at the other end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Scope

from fleetbell import errors, ids
from fleetbell.operator.views.problem import Problem

_log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"


class OperatorsOnly(errors.DomainError):
    """An application's token was shown where an operator's is needed."""


class TokenMissing(errors.DomainError):
    """No token was shown where one is needed."""


STATUS: Final[Mapping[type[errors.DomainError], int]] = {
    TokenMissing: 401,
    errors.TokenInvalid: 401,
    OperatorsOnly: 403,
    errors.ApiTokenUnknown: 404,
    errors.ApplicationUnknown: 404,
    errors.CertificateUnknown: 404,
    errors.DeviceUnknown: 404,
    errors.GroupUnknown: 404,
    errors.PackageUnknown: 404,
    errors.TaskUnknown: 404,
    errors.EndpointUnknown: 404,
    errors.SubscriptionUnknown: 404,
    errors.DeliveryUnknown: 404,
    errors.NotificationUnknown: 404,
    errors.CursorExpired: 410,
    errors.RateExceeded: 429,
    errors.ReplayTooLarge: 409,
    errors.SigningKeyUnknown: 404,
    errors.ApplicationTaken: 409,
    errors.ApplicationInUse: 409,
    errors.DeviceBusy: 409,
    errors.GroupFull: 409,
    errors.GroupNameTaken: 409,
    errors.NodeIdTaken: 409,
    errors.PackageInUse: 409,
    errors.ProductMismatch: 409,
    errors.SigningKeyRotating: 409,
    errors.SecretRotating: 409,
    errors.Busy: 503,
    errors.StorageFailed: 503,
    errors.StorageFull: 507,
}
"""Refusals that are not 400."""

TITLES: Final = {
    400: "Not understood",
    401: "Not proven",
    403: "Not allowed",
    404: "Not found",
    405: "Not done that way",
    409: "In conflict",
    410: "Gone",
    413: "Too large",
    429: "Too many",
    500: "Our own fault",
    503: "Busy",
    507: "No room",
}


_CHALLENGES: Final = {
    TokenMissing: 'Bearer realm="fleetbell"',
    errors.TokenInvalid: 'Bearer realm="fleetbell", error="invalid_token"',
}


def status_of(kind: type[errors.DomainError]) -> int:
    """The status of a refusal."""
    return STATUS.get(kind, 400)


def answer(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """A refusal as a response."""
    if status == 503:
        headers = {"Retry-After": "1"}
    body = msgspec.json.encode(Problem(TITLES[status], status, detail))
    return Response(body, status, headers, media_type=MEDIA_TYPE)


def of(error: Exception, scope: Scope) -> Response:
    """The response to an error. What is our own fault is logged and answered with a reference only."""
    match error:
        case TokenMissing() | errors.TokenInvalid():
            return answer(401, str(error), {"WWW-Authenticate": _CHALLENGES[type(error)]})
        case errors.RateExceeded(retry_after_s=retry_after_s):
            return answer(429, str(error), {"Retry-After": str(retry_after_s)})
        case errors.DomainError():
            return answer(status_of(type(error)), str(error))
        case ClientDisconnect():
            return answer(400, "the request ended before its body did")
        case _:
            reference = ids.new_id("fault")
            _log.error(
                "an operator's call failed",
                reference=reference,
                method=scope["method"],
                path=scope["path"],
                exc_info=error,
            )
            return answer(500, f"this is our own fault; the log has it under {reference}")
