"""Every way the platform says no.

A refusal is an exception below :class:`DomainError`. Its text says what was wrong and one thing that would be
right; the doors add the documented code and sentence of their own table. Anything that is not a
``DomainError`` is the platform's own fault.
"""

from __future__ import annotations


class DomainError(Exception):
    """A refusal: the caller can mend it, nothing was changed."""


class InputInvalid(DomainError):
    """A field is missing, has the wrong type or a value that means nothing."""


class PageInvalid(DomainError):
    """A page number below 0 or a page size outside its limits."""


class CallbackUrlInvalid(DomainError):
    """The callback URL cannot be used: scheme, port, path, or an address that the settings close."""


class AppKeyMissing(DomainError):
    """The header that names the calling application is missing."""


class ApplicationUnknown(DomainError):
    """No application has this id."""


class ApplicationNotAuthorized(DomainError):
    """An application asked for the things of another one."""


class ApplicationTaken(DomainError):
    """The id or the DDI tenant of a new application is in use."""


class ApplicationInUse(DomainError):
    """The application still has devices, packages or tasks."""


class CredentialsInvalid(DomainError):
    """The application id, the secret or the refresh token is wrong; never says which."""


class CredentialsMissing(DomainError):
    """A login or refresh without one of its mandatory fields."""


class TokenInvalid(DomainError):
    """The access token is missing, unknown, expired, or another application's."""


class ApiTokenUnknown(DomainError):
    """No token of the API under ``/api/v1`` has this id."""


class RateExceeded(DomainError):
    """The application made more calls than its flow control allows."""

    def __init__(self, text: str, *, retry_after_s: int) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class CertificateInvalid(DomainError):
    """A certificate, or its key, that cannot be read, is out of date, or is none for this purpose."""


class CertificateUnknown(DomainError):
    """The application has no CA with this id, or no client certificate."""


class SecretRotating(DomainError):
    """A former secret still counts; another rotation would end it before its time."""


class SigningKeyUnknown(DomainError):
    """The application has no signing key with this id."""


class SigningKeyRotating(DomainError):
    """One signing key is taking the place of another, which has to be over before the next one is made."""


class DeviceUnknown(DomainError):
    """The application has no device with this id."""


class DeviceBusy(DomainError):
    """The device cannot be deleted while a task works on it."""


class VerifyCodeInvalid(DomainError):
    """A verify code that cannot be one."""


class SecureFlagInvalid(DomainError):
    """Whether the device is secure was said with something else than true or false."""


class PageOrGatewayMissing(DomainError):
    """A query for devices says neither which page nor which gateway."""


class NodeIdTaken(DomainError):
    """Another device of the application has this node id."""


class GroupUnknown(DomainError):
    """The application has no device group with this id or name."""


class GroupNameTaken(DomainError):
    """Another device group of the application has this name."""


class GroupFull(DomainError):
    """The device group would have more devices than its own limit allows."""


class GroupDevicesTooMany(DomainError):
    """More devices than one call adds to a device group or removes from it."""


class PackageUnknown(DomainError):
    """The application has no package with this id."""


class PackageInUse(DomainError):
    """A task that has not ended needs the package."""


class ProductMismatch(DomainError):
    """The package is made for another product than the device."""


class TaskUnknown(DomainError):
    """The application has no upgrade task with this id."""


class TargetsMissing(DomainError):
    """Neither devices nor groups were named."""


class TargetsDoubled(DomainError):
    """Devices and groups were named together."""


class TargetsTooMany(DomainError):
    """More targets than one task takes."""


class ManufacturerMissing(DomainError):
    """Groups are named without the maker of the devices that are meant."""


class DeviceTypeMissing(DomainError):
    """Groups are named without the type of the devices that are meant."""


class ModelMissing(DomainError):
    """Groups are named without the model of the devices that are meant."""


class ExecuteTypeInvalid(DomainError):
    """The policy names no execution type, or one that is unknown."""


class WindowInvalid(DomainError):
    """A time of the policy's window is missing or cannot be read."""


class WindowReversed(DomainError):
    """The window would end before it starts."""


class WindowPast(DomainError):
    """The window would start in the past."""


class WindowShort(DomainError):
    """The window is open for less than five minutes."""


class RetryTimesInvalid(DomainError):
    """The number of retries is missing or outside 1 to 5."""


class EndpointUnknown(DomainError):
    """There is no endpoint with this id, or it is another application's."""


class SubscriptionUnknown(DomainError):
    """The application has no such subscription."""


class SubscriptionsTooMany(DomainError):
    """A query matches more subscriptions than one answer may list."""


class DeliveryUnknown(DomainError):
    """There is no delivery with this number."""


class NotificationUnknown(DomainError):
    """There is no notification with this webhook-id."""


class CursorExpired(DomainError):
    """Something that came after the cursor cannot be pulled any more; going on would leave it out."""


class ReplayTooLarge(DomainError):
    """More deliveries fit than one call sends again."""


class StorageFull(DomainError):
    """The disk has no room for this; nothing of it was kept."""


class StorageFailed(DomainError):
    """The disk failed in the middle of this. Not more is known: it may turn out to be kept."""


class Busy(DomainError):
    """The platform has as much work waiting as it takes; the caller may repeat in a moment."""


class ActionUnknown(DomainError):
    """The device has no action with this id, or not in a state that allows the call."""


class ActionEnded(DomainError):
    """The action has ended; nothing that is reported for it counts any more."""
