"""How the fake platform says no: the documented codes with their statuses and sentences, and who uses which.

Source: the error tables of the operations. A test runs the same calls against the real platform.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

__all__ = [
    "DEVICES",
    "DOCUMENTED",
    "GROUPS",
    "KEYS",
    "LOGIN",
    "MANAGEMENT",
    "MEMBERS",
    "NOTIFICATIONS",
    "REGISTRATION",
    "SUBSCRIPTIONS",
    "UPGRADES",
    "Family",
    "Refused",
    "Unknown",
]

DOCUMENTED: Final[Mapping[str, tuple[int, str]]] = MappingProxyType(
    {
        "50252": (500, "Internal server error."),
        "50400": (400, "The input is invalid."),
        "100003": (400, "Invalid verify code."),
        "100022": (400, "The input is invalid."),
        "100025": (401, "AppId for auth not exist."),
        "100203": (403, "The application is not existed."),
        "100208": (401, "AppId or secret is not right."),
        "100217": (403, "The application hasn't been authorized."),
        "100218": (400, "The gatewayId and pageNo can't be both null."),
        "100220": (500, "Get AppKey from header failed."),
        "100222": (400, "The request callbackurl is illegal."),
        "100224": (400, "The resource exceeds 1000, please refinement query conditions."),
        "100225": (404, "The resource is not found."),
        "100227": (409, "The resource is conflicted."),
        "100228": (400, "The application input is invalid."),
        "100229": (500, "Get AppKey from header failed."),
        "100244": (500, "register out route fail."),
        "100247": (400, "Operation not allowed. The application has been frozen."),
        "100403": (404, "The device is not existed."),
        "100405": (400, "The request parameter is invalid."),
        "100426": (400, "The nodeId is duplicated."),
        "100440": (400, "The isSecure is invalid."),
        "100601": (200, "The number of device in the group has reach the max."),
        "100602": (200, "The device group name has been used."),
        "100603": (200, "The device group is not existed."),
        "100604": (400, "The device group request parameter is invalid."),
        "100609": (400, "Too much devices to add."),
        "102202": (400, "Required Parameter is null or empty."),
        "120001": (500, "Internal server error."),
        "120015": (400, "Bad request error."),
        "900410": (410, "The cursor has expired."),
        "123002": (404, "Device or package file not found."),
        "123009": (404, "The requested task does not exist."),
        "123016": (400, "The parameter is error, targetversion not match with device."),
        "123019": (400, "manufacturerName is null."),
        "123020": (400, "deviceType is null."),
        "123021": (400, "model is null."),
        "123022": (400, "deviceGroups and devices cannot be null together."),
        "123023": (400, "deviceGroups and devices cannot be exist together."),
        "123024": (400, "The number of deviceGroups or devices reached upper limit."),
        "123025": (400, "executeType is error or can not to be null."),
        "123026": (400, "startTime or endTime is null or error."),
        "123027": (400, "Some device groups do not exist."),
        "123028": (400, "retryTimes is null or beyond the limit."),
        "123029": (400, "pageNo or pageSize beyond the limit."),
        "123032": (400, "startTime can not be later than the endTime."),
        "123033": (400, "startTime can not be earlier than the now."),
        "123034": (400, "endtime must be greater than 5 minutes."),
        "1010005": (403, "Invalid access token or appId."),
        "1010009": (403, "app throttle exceed."),
    }
)
"""The status and the sentence of each code that can occur."""


class Refused(Exception):
    """A call is answered with an error of the documents."""

    def __init__(self, code: str, why: str) -> None:
        status, sentence = DOCUMENTED[code]
        super().__init__(f"{sentence} {why}.")
        self.status = status
        self.code = code


class Unknown(Exception):
    """A call, or a part of one, that the real platform may know and the fake one does not."""


@dataclass(frozen=True, slots=True)
class Family:
    """Calls that share the codes for what can be wrong with any call."""

    bad_input: str
    bad_page: str = ""
    no_app_key: str = ""
    no_application: str = "100203"
    takes_owner: bool = True
    """Whether a call may name the application, which has to be the caller."""


LOGIN: Final = Family("50400")
KEYS: Final = Family("50400", takes_owner=False)
MANAGEMENT: Final = Family("100228", no_app_key="100229", takes_owner=False)
SUBSCRIPTIONS: Final = Family("100228", "100228", "100229")
UPGRADES: Final = Family("120015", "123029", "100229", "1010005", takes_owner=False)
REGISTRATION: Final = Family("50400", no_app_key="100025")
DEVICES: Final = Family("100022", "100405", "100220")
GROUPS: Final = Family("50400", "50400", "100220")
MEMBERS: Final = Family("100604", "100405", "100220")
NOTIFICATIONS: Final = Family("50400", "50400", "100229", takes_owner=False)
