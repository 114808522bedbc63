"""What lay beneath the original's classes, for applications that made calls of their own with it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from fleetbell_sdk.legacy.platform import send

__all__ = ["DictUtil", "Log", "NorthApiClient", "RestConstant"]


class RestConstant:
    """Methods, and where each call is. What ends in ``?`` is meant to be followed by ``&name=value``."""

    HTTPGET = "GET"
    HTTPPOST = "POST"
    HTTPPUT = "PUT"
    HTTPDELETE = "DELETE"
    BASE_URL = "https://"

    APP_AUTH = "/iocm/app/sec/v1.1.0/login"
    REFRESH_TOKEN = "/iocm/app/sec/v1.1.0/refreshToken"  # noqa: S105  (a path)
    AUTH_LOGOUT = "/iocm/app/sec/v1.1.0/logout"

    REG_DIRECT_DEVICE = "/iocm/app/reg/v1.1.0/deviceCredentials"
    REFRESH_DEVICE_KEY = "/iocm/app/reg/v1.1.0/deviceCredentials/"
    QUERY_DEVICE_STATUS = "/iocm/app/reg/v1.1.0/deviceCredentials/"
    MODIFY_DEVICE_INFO = "/iocm/app/dm/v1.4.0/devices/"
    DELETE_DIRECT_DEVICE = "/iocm/app/dm/v1.4.0/devices/"
    QUERY_SINGLE_DEVICE_INFO = "/iocm/app/dm/v1.4.0/devices/"
    QUERY_BATCH_DEVICES_INFO = "/iocm/app/dm/v1.4.0/devices?"

    SUB_DEVICE_BUSINESS_DATA = "/iocm/app/sub/v1.2.0/subscriptions"
    SUB_DEVICE_MANAGEMENT_DATA = "/iodm/app/sub/v1.1.0/subscribe"
    QUERY_SINGLE_SUB_SCRIPTION = "/iocm/app/sub/v1.2.0/subscriptions/"
    QUERY_BATCH_SUB_SCRIPTIONS = "/iocm/app/sub/v1.2.0/subscriptions?"
    DELETE_SINGLE_SUB_SCRIPTION = "/iocm/app/sub/v1.2.0/subscriptions/"
    DELETE_BATCH_SUB_SCRIPTIONS = "/iocm/app/sub/v1.2.0/subscriptions?"

    QUERY_UPGRADE_PACKAGE_LIST = "/iodm/northbound/v1.5.0/category?"
    QUERY_UPGRADE_PACKAGE = "/iodm/northbound/v1.5.0/category/"
    DELETE_UPGRADE_PACKAGE = "/iodm/northbound/v1.5.0/category/"
    CREATE_SOFTWARE_UPGRADE_TASK = "/iodm/northbound/v1.5.0/operations/softwareUpgrade"
    CREATE_FIRMWARE_UPGRADE_TASK = "/iodm/northbound/v1.5.0/operations/firmwareUpgrade"
    QUERY_UPGRADE_TASK = "/iodm/northbound/v1.5.0/operations/"
    QUERY_UPGRADE_SUB_TASK = "/iodm/northbound/v1.5.0/operations/"
    QUERY_UPGRADE_TASK_LIST = "/iodm/northbound/v1.5.0/operations?"

    CREATE_DEVICE_GROUP = "/iocm/app/devgroup/v1.3.0/devGroups"
    MODIFY_DEVICE_GROUP = "/iocm/app/devgroup/v1.3.0/devGroups/"
    DELETE_DEVICE_GROUP = "/iocm/app/devgroup/v1.3.0/devGroups/"
    QUERY_DEVICE_GROUPS = "/iocm/app/devgroup/v1.3.0/devGroups?"
    QUERY_SINGLE_DEVICE_GROUP = "/iocm/app/devgroup/v1.3.0/devGroups/"
    QUERY_DEVICE_GROUP_MEMBERS = "/iocm/app/dm/v1.2.0/devices/ids?devGroupId="
    ADD_DEVICES_TO_GROUP = "/iocm/app/dm/v1.1.0/devices/addDevGroupTagToDevices"
    DELETE_DEVICES_FROM_GROUP = "/iocm/app/dm/v1.1.0/devices/deleteDevGroupTagFromDevices"


class NorthApiClient:
    """Sends what the caller has put together."""

    @staticmethod
    def invokeAPI(httpMethod: str, authUrl: str, payload: object, accessToken: str | None) -> str:
        """Send one request and return the text of the answer.

        ``authUrl`` is a path with its query; ``payload`` is a text, or a dictionary that is sent as JSON. The
        platform is the one that gave the token, or that of ``application.ini``.
        """
        text = payload if isinstance(payload, str) else "" if payload is None else json.dumps(payload)
        return send(httpMethod, authUrl, text, accessToken=accessToken)


class DictUtil:
    """Turns objects into dictionaries."""

    @staticmethod
    def dto2dict(dto: object) -> Mapping[str, object]:
        """All attributes that are no methods, also those that are None, in alphabetical order."""
        values = {
            name: getattr(dto, name) for name in dir(dto) if not name.startswith("_") and name != "FIELDS"
        }
        return {name: value for name, value in values.items() if not callable(value)}


class Log:
    """The original set up a log file with it."""

    def setLogConfig(self) -> None:
        """Do nothing: where the log goes is the application's choice, with ``logging``."""
