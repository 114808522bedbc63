"""Every way a call to the platform fails, and the table from ``error_code`` to class.

All of them are a :class:`FleetbellError`. What a receiver can meet lives beside its code and is named
here too: :class:`MessageUnreadable`, :class:`SignatureInvalid` and :class:`SecretInvalid`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from fleetbell_sdk.signature import SecretInvalid, SignatureInvalid
from fleetbell_sdk.wire import MessageUnreadable

if TYPE_CHECKING:
    from fleetbell_sdk.bodies import Task

__all__ = [
    "REFUSALS",
    "AlreadySubscribed",
    "ApiRefused",
    "ApplicationFrozen",
    "ApplicationUnauthorized",
    "ApplicationUnknown",
    "CallbackUrlConflict",
    "CallbackUrlInvalid",
    "ConnectionFailed",
    "CredentialsInvalid",
    "CursorExpired",
    "DeviceKnown",
    "DeviceLimitReached",
    "DeviceUnknown",
    "FleetbellError",
    "GroupFull",
    "GroupNameTaken",
    "GroupUnknown",
    "HeaderMissing",
    "InputInvalid",
    "MessageUnreadable",
    "PackageUnfit",
    "PackageUnknown",
    "PageInvalid",
    "PlatformFailed",
    "PolicyInvalid",
    "ProductUnknown",
    "RateExceeded",
    "ResponseUnreadable",
    "SecretInvalid",
    "SignatureInvalid",
    "SubscriptionUnknown",
    "TargetsInvalid",
    "TaskUnfinished",
    "TaskUnknown",
    "TimedOut",
    "TokenInvalid",
    "TooManyResults",
    "refusal",
]


class FleetbellError(Exception):
    """A call did not do what it was asked."""


class ConnectionFailed(FleetbellError):
    """The platform was not reached, or the connection broke. Whether the call took effect is not known.

    ``is_lasting`` tells what does not go away by itself, such as a certificate that is not accepted.
    """

    def __init__(self, text: str, *, is_lasting: bool = False) -> None:
        super().__init__(text)
        self.is_lasting = is_lasting


class TimedOut(ConnectionFailed):
    """The platform did not answer in time. Whether the call took effect is not known."""


class ResponseUnreadable(FleetbellError):
    """The platform answered something that is not what the documents promise."""


class TaskUnfinished(FleetbellError, TimeoutError):
    """A task has not ended in the time that its caller would wait. It goes on.

    ``task`` is how it was last seen, or None if the platform was not reached at all.
    """

    def __init__(self, operation_id: str, waited_s: float, task: Task | None) -> None:
        seen = "the platform was not reached"
        if task is not None:
            tally = task.tally
            ended = tally.success + tally.fail + tally.stop
            seen = f"it is {task.status}, and {ended} of {tally.total} sub tasks have ended"
        super().__init__(f"the task {operation_id} has not ended after {waited_s:g} s: {seen}")
        self.operation_id = operation_id
        self.waited_s = waited_s
        self.task = task

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.operation_id, self.waited_s, self.task)  # so that it goes to other processes


class ApiRefused(FleetbellError):
    """The platform said no. Subclasses say to what; a code without a class of its own is this one.

    ``retry_after_s`` is when the platform wants to be asked again, if it said so.
    """

    def __init__(
        self, status: int, error_code: str, error_desc: str, *, retry_after_s: float | None = None
    ) -> None:
        super().__init__(f"{error_desc} (error_code {error_code or 'missing'}, HTTP {status})")
        self.status = status
        self.error_code = error_code
        self.error_desc = error_desc
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.status, self.error_code, self.error_desc), self.__dict__


class TokenInvalid(ApiRefused):
    """The access token is wrong or too old, and a new login did not help."""


class RateExceeded(ApiRefused):
    """The application calls more often than it may."""


class CredentialsInvalid(ApiRefused):
    """The application id, the secret or the refresh token is wrong."""


class ApplicationUnknown(ApiRefused):
    """There is no such application."""


class ApplicationFrozen(ApiRefused):
    """The application may not log in at present."""


class ApplicationUnauthorized(ApiRefused):
    """What was asked belongs to another application."""


class HeaderMissing(ApiRefused):
    """The platform did not see the application id; something between may have dropped ``app_key``."""


class InputInvalid(ApiRefused):
    """A parameter is missing or wrong."""


class PageInvalid(InputInvalid):
    """The page number or the page size is out of range."""


class CallbackUrlInvalid(InputInvalid):
    """The callback URL cannot be used: scheme, host, port, path, or an address that is not allowed."""


class TargetsInvalid(InputInvalid):
    """The targets of a task are none, too many, of two kinds, or lack their product."""


class PolicyInvalid(InputInvalid):
    """The policy of a task contradicts itself or the clock."""


class PackageUnfit(InputInvalid):
    """The package is for another product than the device."""


class CallbackUrlConflict(ApiRefused):
    """The platform allows one callback address per application, and this is another one."""


class AlreadySubscribed(ApiRefused):
    """The type is subscribed already."""


class SubscriptionUnknown(ApiRefused):
    """No such subscription, or none that matches."""


class TooManyResults(ApiRefused):
    """The query finds more than the platform returns; narrow it."""


class DeviceUnknown(ApiRefused):
    """There is no such device."""


class DeviceKnown(ApiRefused):
    """A device with this node id is registered already."""


class DeviceLimitReached(ApiRefused):
    """The platform takes no further device."""


class GroupUnknown(ApiRefused):
    """There is no such device group."""


class GroupNameTaken(ApiRefused):
    """Another device group of the application has this name."""


class GroupFull(ApiRefused):
    """The device group takes no more devices, or the platform no more groups."""


class ProductUnknown(ApiRefused):
    """There is no such product."""


class PackageUnknown(ApiRefused):
    """There is no such package (or, when a task is created, no such device)."""


class TaskUnknown(ApiRefused):
    """There is no such upgrade task."""


class CursorExpired(ApiRefused):
    """Something that came after the cursor is not kept any more; going on would leave it out.

    Begin anew without ``after``, and ask the tasks for what is missing.
    """


class PlatformFailed(ApiRefused):
    """The platform failed. Its log has more, under the reference in the text if there is one."""


# Source: the error tables of the operations; a code may come with several HTTP statuses, even 200.
REFUSALS: Final[Mapping[str, type[ApiRefused]]] = MappingProxyType(
    {
        "50252": PlatformFailed,
        "50400": InputInvalid,
        "100001": PlatformFailed,
        "100003": InputInvalid,
        "100006": CredentialsInvalid,
        "100007": InputInvalid,
        "100022": InputInvalid,
        "100023": PlatformFailed,
        "100025": HeaderMissing,
        "100203": ApplicationUnknown,
        "100208": CredentialsInvalid,
        "100216": InputInvalid,
        "100217": ApplicationUnauthorized,
        "100218": InputInvalid,
        "100220": HeaderMissing,
        "100222": CallbackUrlInvalid,
        "100224": TooManyResults,
        "100225": SubscriptionUnknown,
        "100227": AlreadySubscribed,
        "100228": InputInvalid,
        "100229": HeaderMissing,
        "100234": CallbackUrlConflict,
        "100244": PlatformFailed,
        "100247": ApplicationFrozen,
        "100403": DeviceUnknown,
        "100405": InputInvalid,
        "100412": DeviceLimitReached,
        "100416": DeviceKnown,
        "100418": DeviceUnknown,
        "100426": DeviceKnown,
        "100440": InputInvalid,
        "100441": DeviceLimitReached,
        "100601": GroupFull,
        "100602": GroupNameTaken,
        "100603": GroupUnknown,
        "100604": InputInvalid,
        "100607": GroupFull,
        "100609": InputInvalid,
        "102202": InputInvalid,
        "103026": DeviceLimitReached,
        "103028": DeviceLimitReached,
        "120001": PlatformFailed,
        "120015": InputInvalid,
        "120203": ApplicationUnknown,
        "123001": InputInvalid,
        "123002": PackageUnknown,
        "123009": TaskUnknown,
        "123016": PackageUnfit,
        "123019": TargetsInvalid,
        "123020": TargetsInvalid,
        "123021": TargetsInvalid,
        "123022": TargetsInvalid,
        "123023": TargetsInvalid,
        "123024": TargetsInvalid,
        "123025": PolicyInvalid,
        "123026": PolicyInvalid,
        "123027": TargetsInvalid,
        "123028": PolicyInvalid,
        "123029": PageInvalid,
        "123032": PolicyInvalid,
        "123033": PolicyInvalid,
        "123034": PolicyInvalid,
        "200001": SubscriptionUnknown,
        "200002": AlreadySubscribed,
        "600002": ProductUnknown,
        "900410": CursorExpired,  # an extension
        "1010005": TokenInvalid,
        "1010009": RateExceeded,
    }
)


def refusal(
    status: int, error_code: str, error_desc: str, *, retry_after_s: float | None = None
) -> ApiRefused:
    """The refusal that an answer means.

    >>> type(refusal(404, "123009", "The requested task does not exist.")).__name__
    'TaskUnknown'
    """
    kind = REFUSALS.get(error_code)
    if kind is None:
        kind = PlatformFailed if status >= 500 else ApiRefused
    return kind(status, error_code, error_desc, retry_after_s=retry_after_s)
