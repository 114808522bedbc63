"""The one table that turns refusals into the documented statuses, codes and sentences.

It is by operation family and refusal, because the same refusal has another code in another family. Nothing
else in the platform knows codes.

Sources: "Subscribing to Device Management Data", Error Codes, for that call; the northbound pages' tables for
the others (northbound contract, section 11). A comment marks what the documents do not have.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from fleetbell import errors


class Family(enum.Enum):
    """Operations that share an error table."""

    LOGIN = "login, refresh, logout"
    MANAGEMENT = "subscribing to management data"
    SUBSCRIPTIONS = "subscribing to service data, querying and deleting subscriptions"
    PACKAGES = "packages"
    TASKS = "upgrade tasks"
    REGISTRATION = "registering and activating devices"
    DEVICES = "querying, changing and deleting devices"
    GROUPS = "device groups"
    MEMBERS = "devices of a group"
    NOTIFICATIONS = "pulling notifications"


@dataclass(frozen=True, slots=True)
class ApiError:
    """One row: the HTTP status, ``error_code``, and the documented sentence of ``error_desc``."""

    status: int
    code: str
    sentence: str

    def body(self, text: str) -> bytes:
        """The answer's body: the documented sentence, then what was wrong and what would be right."""
        return msgspec.json.encode(
            {"error_code": self.code, "error_desc": f"{_ended(self.sentence)} {_ended(text)}"}
        )


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith(".") else f"{sentence}."


_BAD_TOKEN = ApiError(403, "1010005", "Invalid access token or appId.")
_THROTTLED = ApiError(403, "1010009", "app throttle exceed.")
_UNAUTHORIZED = ApiError(403, "100217", "The application hasn't been authorized.")
_NO_APPLICATION = ApiError(403, "100203", "The application is not existed.")
_NO_APP_KEY = ApiError(500, "100229", "Get AppKey from header failed.")
_UPGRADE_BAD_REQUEST = ApiError(400, "120015", "Bad request error.")
_UPGRADE_BAD_PAGE = ApiError(400, "123029", "pageNo or pageSize beyond the limit.")
_DEVICE_UNKNOWN = ApiError(404, "100403", "The device is not existed.")
_GROUP_UNKNOWN = ApiError(200, "100603", "The device group is not existed.")
_GROUP_FULL = ApiError(200, "100601", "The number of device in the group has reach the max.")
_NO_DEVICE_OR_FILE = ApiError(404, "123002", "Device or package file not found.")


def _not_now(code: str, sentence: str) -> dict[type[errors.DomainError], ApiError]:
    """Too much work, or a disk that is full or fails: not in the documents' tables, 503 is among their
    statuses.
    """
    row = ApiError(503, code, sentence)
    return {errors.Busy: row, errors.StorageFull: row, errors.StorageFailed: row}


TABLE: Mapping[Family, Mapping[type[errors.DomainError], ApiError]] = {
    Family.LOGIN: {
        errors.CredentialsMissing: ApiError(400, "102202", "Required Parameter is null or empty."),
        errors.CredentialsInvalid: ApiError(401, "100208", "AppId or secret is not right."),
        errors.InputInvalid: ApiError(400, "50400", "The input is invalid."),
        **_not_now("50252", "Internal server error."),
    },
    Family.MANAGEMENT: {
        errors.AppKeyMissing: ApiError(500, "100229", "Failed to obtain the AppKey from the message header."),
        errors.ApplicationUnknown: ApiError(403, "100203", "The application does not exist."),
        errors.TokenInvalid: ApiError(403, "1010005", "Invalid access token or application ID."),
        errors.RateExceeded: ApiError(
            403,
            "1010009",
            "The application calls the API at a frequency that exceeds the flow control threshold.",
        ),
        errors.InputInvalid: ApiError(400, "100228", "The application input is invalid."),
        # The original calls a bad callback URL an internal server error; so do we.
        errors.CallbackUrlInvalid: ApiError(400, "100222", "Internal server error."),
        **_not_now("100244", "Failed to register the route."),
    },
    Family.SUBSCRIPTIONS: {
        errors.AppKeyMissing: _NO_APP_KEY,
        errors.ApplicationUnknown: _NO_APPLICATION,
        errors.ApplicationNotAuthorized: _UNAUTHORIZED,
        errors.TokenInvalid: _BAD_TOKEN,
        errors.RateExceeded: _THROTTLED,
        errors.InputInvalid: ApiError(400, "100228", "The application input is invalid."),
        errors.PageInvalid: ApiError(400, "100228", "The application input is invalid."),
        errors.CallbackUrlInvalid: ApiError(400, "100222", "The request callbackurl is illegal."),
        errors.SubscriptionUnknown: ApiError(404, "100225", "The resource is not found"),
        errors.SubscriptionsTooMany: ApiError(
            400, "100224", "The resource exceeds 1000, please refinement query conditions."
        ),
        **_not_now("50252", "Internal server error."),
    },
    Family.PACKAGES: {
        errors.AppKeyMissing: _NO_APP_KEY,
        errors.ApplicationUnknown: _BAD_TOKEN,  # no row of its own in this family
        errors.TokenInvalid: _BAD_TOKEN,
        errors.RateExceeded: _THROTTLED,
        errors.InputInvalid: _UPGRADE_BAD_REQUEST,
        errors.PageInvalid: _UPGRADE_BAD_PAGE,
        errors.PackageUnknown: _NO_DEVICE_OR_FILE,
        errors.PackageInUse: _UPGRADE_BAD_REQUEST,  # not documented
        **_not_now("120001", "Internal server error."),
    },
    Family.TASKS: {
        errors.AppKeyMissing: _NO_APP_KEY,
        errors.ApplicationUnknown: _BAD_TOKEN,  # no row of its own in this family
        errors.TokenInvalid: _BAD_TOKEN,
        errors.RateExceeded: _THROTTLED,
        errors.InputInvalid: _UPGRADE_BAD_REQUEST,
        errors.PageInvalid: _UPGRADE_BAD_PAGE,
        errors.PackageUnknown: _NO_DEVICE_OR_FILE,
        errors.DeviceUnknown: _NO_DEVICE_OR_FILE,
        errors.TaskUnknown: ApiError(404, "123009", "The requested task does not exist."),
        errors.ProductMismatch: ApiError(
            400, "123016", "The parameter is error, targetversion not match with device."
        ),
        errors.TargetsMissing: ApiError(400, "123022", "deviceGroups and devices cannot be null together"),
        errors.TargetsDoubled: ApiError(400, "123023", "deviceGroups and devices cannot be exist together"),
        errors.TargetsTooMany: ApiError(
            400, "123024", "The number of deviceGroups or devices reached upper limit"
        ),
        errors.ManufacturerMissing: ApiError(400, "123019", "manufacturerName is null."),
        errors.DeviceTypeMissing: ApiError(400, "123020", "deviceType is null"),
        errors.ModelMissing: ApiError(400, "123021", "model is null."),
        errors.GroupUnknown: ApiError(400, "123027", "Some device groups do not exist."),
        errors.WindowInvalid: ApiError(400, "123026", "startTime or endTime is null or error."),
        errors.WindowReversed: ApiError(400, "123032", "startTime can not be later than the endTime."),
        errors.WindowPast: ApiError(400, "123033", "startTime can not be earlier than the now."),
        errors.WindowShort: ApiError(400, "123034", "endtime must be greater than 5 minutes."),
        errors.ExecuteTypeInvalid: ApiError(400, "123025", "executeType is error or can not to be null."),
        errors.RetryTimesInvalid: ApiError(400, "123028", "retryTimes is null or beyond the limit."),
        **_not_now("120001", "Internal server error."),
    },
    Family.REGISTRATION: {
        errors.AppKeyMissing: ApiError(401, "100025", "AppId for auth not exist."),
        errors.ApplicationUnknown: _NO_APPLICATION,
        errors.ApplicationNotAuthorized: _UNAUTHORIZED,
        errors.TokenInvalid: _BAD_TOKEN,
        errors.RateExceeded: _THROTTLED,
        errors.InputInvalid: ApiError(400, "50400", "The input is invalid."),
        errors.VerifyCodeInvalid: ApiError(400, "100003", "Invalid verify code."),
        errors.SecureFlagInvalid: ApiError(400, "100440", "The isSecure is invalid."),
        errors.NodeIdTaken: ApiError(400, "100426", "The nodeId is duplicated."),
        errors.DeviceUnknown: _DEVICE_UNKNOWN,
        errors.DeviceBusy: ApiError(400, "50400", "The input is invalid."),  # not documented
        **_not_now("50252", "Internal server error."),
    },
    Family.DEVICES: {
        errors.AppKeyMissing: ApiError(500, "100220", "Get AppKey from header failed."),
        errors.ApplicationUnknown: _NO_APPLICATION,
        errors.ApplicationNotAuthorized: _UNAUTHORIZED,
        errors.TokenInvalid: _BAD_TOKEN,
        errors.RateExceeded: _THROTTLED,
        errors.InputInvalid: ApiError(400, "100022", "The input is invalid."),
        errors.PageInvalid: ApiError(400, "100405", "The request parameter is invalid."),
        errors.PageOrGatewayMissing: ApiError(400, "100218", "The gatewayId and pageNo can't be both null."),
        errors.DeviceUnknown: _DEVICE_UNKNOWN,
        errors.DeviceBusy: ApiError(400, "100022", "The input is invalid."),  # not documented
        **_not_now("50252", "Internal server error."),
    },
    # What is refused about a group itself comes with status 200, as its pages have it.
    Family.GROUPS: {
        errors.AppKeyMissing: ApiError(500, "100220", "Get AppKey from header failed."),
        errors.ApplicationUnknown: _NO_APPLICATION,
        errors.ApplicationNotAuthorized: _UNAUTHORIZED,
        errors.TokenInvalid: _BAD_TOKEN,
        errors.RateExceeded: _THROTTLED,
        errors.InputInvalid: ApiError(400, "50400", "The input is invalid."),
        errors.PageInvalid: ApiError(400, "50400", "The input is invalid."),
        errors.GroupUnknown: _GROUP_UNKNOWN,
        errors.GroupNameTaken: ApiError(200, "100602", "The device group name has been used."),
        errors.GroupFull: _GROUP_FULL,
        errors.GroupDevicesTooMany: ApiError(400, "100609", "Too much devices to add."),
        errors.DeviceUnknown: _DEVICE_UNKNOWN,
        **_not_now("50252", "Internal server error."),
    },
    Family.MEMBERS: {
        errors.AppKeyMissing: ApiError(500, "100220", "Get AppKey from header failed."),
        errors.ApplicationUnknown: _NO_APPLICATION,
        errors.ApplicationNotAuthorized: _UNAUTHORIZED,
        errors.TokenInvalid: _BAD_TOKEN,
        errors.RateExceeded: _THROTTLED,
        errors.InputInvalid: ApiError(400, "100604", "The device group request parameter is invalid."),
        errors.PageInvalid: ApiError(400, "100405", "The request parameter is invalid."),
        errors.GroupUnknown: _GROUP_UNKNOWN,
        errors.GroupFull: _GROUP_FULL,
        errors.GroupDevicesTooMany: ApiError(400, "100609", "Too much devices to add."),
        errors.DeviceUnknown: _DEVICE_UNKNOWN,
        **_not_now("50252", "Internal server error."),
    },
    # An extension of ours. 410 and its code are in no table of the documents.
    Family.NOTIFICATIONS: {
        errors.AppKeyMissing: _NO_APP_KEY,
        errors.ApplicationUnknown: _NO_APPLICATION,
        errors.TokenInvalid: _BAD_TOKEN,
        errors.RateExceeded: _THROTTLED,
        errors.InputInvalid: ApiError(400, "50400", "The input is invalid."),
        errors.PageInvalid: ApiError(400, "50400", "The input is invalid."),
        errors.CursorExpired: ApiError(410, "900410", "The cursor has expired."),
        **_not_now("50252", "Internal server error."),
    },
}

FAULTS: Mapping[Family, ApiError] = {
    Family.LOGIN: ApiError(500, "50252", "Internal server error."),
    Family.MANAGEMENT: ApiError(500, "100244", "Failed to register the route."),
    Family.SUBSCRIPTIONS: ApiError(500, "50252", "Internal server error."),
    Family.PACKAGES: ApiError(500, "120001", "Internal server error."),
    Family.TASKS: ApiError(500, "120001", "Internal server error."),
    Family.REGISTRATION: ApiError(500, "50252", "Internal server error."),
    Family.DEVICES: ApiError(500, "50252", "Internal server error."),
    Family.GROUPS: ApiError(500, "50252", "Internal server error."),
    Family.MEMBERS: ApiError(500, "50252", "Internal server error."),
    Family.NOTIFICATIONS: ApiError(500, "50252", "Internal server error."),
}
"""What is answered when the platform itself is at fault; only a reference follows."""


def api_error(family: Family, refusal: errors.DomainError) -> ApiError | None:
    """The row of a refusal, or None when the family has none: then the platform is at fault."""
    return TABLE[family].get(type(refusal))
