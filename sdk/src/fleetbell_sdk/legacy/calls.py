"""The calls of the original SDK: every one returns the text of the answer, "" where there is none.

An HTTP error does not raise; its text has ``error_code`` and ``error_desc``. Names and parameters are the
original's, also where their spelling is not this project's.
"""

from __future__ import annotations

from fleetbell_sdk.legacy.dto import fields_of
from fleetbell_sdk.legacy.platform import ClientSettings, ask, complete, granted, granter, segment

__all__ = [
    "Authentication",
    "DataCollection",
    "DeviceGroupManagement",
    "DeviceManagement",
    "DeviceUpgrade",
    "SubscriptionManagement",
]

_SUBSCRIPTIONS = "/iocm/app/sub/v1.2.0/subscriptions"
_CATEGORY = "/iodm/northbound/v1.5.0/category"
_OPERATIONS = "/iodm/northbound/v1.5.0/operations"
_DEVICES = "/iocm/app/dm/v1.4.0/devices"
_GROUPS = "/iocm/app/devgroup/v1.3.0/devGroups"
_REGISTRATIONS = "/iocm/app/reg/v1.1.0/deviceCredentials"


class Authentication:
    """Log in, and trade the refresh token."""

    def getAuthToken(self, clientInfo: ClientSettings | object) -> str:
        """Log in. The answer's text has ``accessToken`` and ``refreshToken``.

        Calls with these tokens go to the platform of ``clientInfo``, whatever ``application.ini`` says.
        """
        info = complete(fields_of(clientInfo))
        form = {"appId": info["appId"], "secret": info["secret"]}
        return granted(ask("POST", "/iocm/app/sec/v1.1.0/login", form=form, clientInfo=info), info)

    def refreshAuthToken(self, arInDTO: object) -> str:
        """Trade a refresh token; takes an ``AuthRefreshInDTO``."""
        info = granter(fields_of(arInDTO).get("refreshToken"))
        text = ask("POST", "/iocm/app/sec/v1.1.0/refreshToken", body=arInDTO, clientInfo=info)
        return granted(text, info)


class SubscriptionManagement:
    """Subscribe to pushes."""

    def subDeviceBusinessData(self, sdbdInDTO: object, accessToken: str) -> str:
        """Subscribe to service data; takes a ``SubDeviceBusinessDataInDTO``."""
        body = fields_of(sdbdInDTO)
        query = {"ownerFlag": body.pop("ownerFlag", None)}
        return ask("POST", _SUBSCRIPTIONS, accessToken=accessToken, body=body, query=query)

    def subDeviceManagementData(self, sdmdInDTO: object, accessToken: str) -> str:
        """Subscribe to upgrade news; takes a ``SubDeviceManagementDataInDTO``. The answer is empty."""
        return ask("POST", "/iodm/app/sub/v1.1.0/subscribe", accessToken=accessToken, body=sdmdInDTO)

    def querySingleSubscription(self, subscriptionId: str, appId: str | None, accessToken: str) -> str:
        """Query one subscription."""
        path = f"{_SUBSCRIPTIONS}/{segment(subscriptionId)}"
        return ask("GET", path, accessToken=accessToken, query={"appId": appId})

    def queryBatchSubscriptions(self, qbsInDTO: object, accessToken: str) -> str:
        """List subscriptions; takes a ``QueryBatchSubInDTO``."""
        return ask("GET", _SUBSCRIPTIONS, accessToken=accessToken, query=qbsInDTO)

    def deleteSingleSubscription(self, subscriptionId: str, appId: str | None, accessToken: str) -> str:
        """Delete one subscription. The answer is empty."""
        path = f"{_SUBSCRIPTIONS}/{segment(subscriptionId)}"
        return ask("DELETE", path, accessToken=accessToken, query={"appId": appId})

    def deleteBatchSubscriptions(self, dbsInDTO: object, accessToken: str) -> str:
        """Delete the subscriptions that match a ``DeleteBatchSubInDTO``. The answer is empty."""
        return ask("DELETE", _SUBSCRIPTIONS, accessToken=accessToken, query=dbsInDTO)


class DeviceUpgrade:
    """Packages and upgrade tasks."""

    def queryUpgradePackageList(self, quplInDTO: object, accessToken: str) -> str:
        """List packages; takes a ``QueryUpgradePackageListInDTO``."""
        return ask("GET", _CATEGORY, accessToken=accessToken, query=quplInDTO)

    def queryUpgradePackage(self, fileId: str, accessToken: str) -> str:
        """Query one package."""
        return ask("GET", f"{_CATEGORY}/{segment(fileId)}", accessToken=accessToken)

    def deleteUpgradePackage(self, fileId: str, accessToken: str) -> str:
        """Delete one package. The answer is empty."""
        return ask("DELETE", f"{_CATEGORY}/{segment(fileId)}", accessToken=accessToken)

    def createSoftwareUpgradeTask(self, cutInDTO: object, accessToken: str) -> str:
        """Create a software task; takes a ``CreateUpgradeTaskInDTO``. The answer has ``operationId``."""
        return ask("POST", f"{_OPERATIONS}/softwareUpgrade", accessToken=accessToken, body=cutInDTO)

    def createFirmwareUpgradeTask(self, cutInDTO: object, accessToken: str) -> str:
        """Create a firmware task; takes a ``CreateUpgradeTaskInDTO``. The answer has ``operationId``."""
        return ask("POST", f"{_OPERATIONS}/firmwareUpgrade", accessToken=accessToken, body=cutInDTO)

    def queryUpgradeTask(self, operationId: str, accessToken: str) -> str:
        """Query one task."""
        return ask("GET", f"{_OPERATIONS}/{segment(operationId)}", accessToken=accessToken)

    def queryUpgradeSubTask(self, qustInDTO: object, operationId: str, accessToken: str) -> str:
        """List a task's sub tasks; takes a ``QueryUpgradeSubTaskInDTO``."""
        path = f"{_OPERATIONS}/{segment(operationId)}/subOperations"
        return ask("GET", path, accessToken=accessToken, query=qustInDTO)

    def queryUpgradeTaskList(self, qutlInDTO: object, accessToken: str) -> str:
        """List tasks; takes a ``QueryUpgradeTaskListInDTO``."""
        return ask("GET", _OPERATIONS, accessToken=accessToken, query=qutlInDTO)


class DeviceManagement:
    """Register, change and delete devices."""

    def regDirectDevice(self, rddInDto: object, appId: str | None, accessToken: str) -> str:
        """Register a device; takes a ``RegDirectDeviceInDTO``."""
        return ask("POST", _REGISTRATIONS, accessToken=accessToken, body=rddInDto, query={"appId": appId})

    def refreshDeviceKey(self, rdkInDTO: object, appId: str | None, accessToken: str) -> str:
        """Give a device another key; takes a ``RefreshDeviceKeyInDTO``, whose ``deviceId`` says which."""
        path = f"{_REGISTRATIONS}/{segment(fields_of(rdkInDTO).get('deviceId', ''))}"
        return ask("PUT", path, accessToken=accessToken, body=rdkInDTO, query={"appId": appId})

    def queryDeviceStatus(self, deviceId: str, appId: str | None, accessToken: str) -> str:
        """Query whether a device was heard. The answer has ``activated``."""
        path = f"{_REGISTRATIONS}/{segment(deviceId)}"
        return ask("GET", path, accessToken=accessToken, query={"appId": appId})

    def modifyDeviceInfo(self, mdiInDto: object, deviceId: str, appId: str | None, accessToken: str) -> str:
        """Change a device; takes a ``ModifyDeviceInfoInDTO``. The answer is empty."""
        path = f"{_DEVICES}/{segment(deviceId)}"
        return ask("PUT", path, accessToken=accessToken, body=mdiInDto, query={"appId": appId})

    def deleteDirectDevice(
        self, deviceId: str, cascade: str | bool | None, appId: str | None, accessToken: str
    ) -> str:
        """Delete a device. The answer is empty."""
        query = {"appId": appId, "cascade": cascade}
        return ask("DELETE", f"{_DEVICES}/{segment(deviceId)}", accessToken=accessToken, query=query)


class DataCollection:
    """Query devices."""

    def querySingleDeviceInfo(
        self, deviceId: str, select: str | None, appId: str | None, accessToken: str
    ) -> str:
        """Query one device."""
        query = {"appId": appId, "select": select}
        return ask("GET", f"{_DEVICES}/{segment(deviceId)}", accessToken=accessToken, query=query)

    def queryBatchDevicesInfo(self, qbdiInDTO: object, accessToken: str) -> str:
        """List devices; takes a ``QueryBatchDevicesInfoInDTO``."""
        return ask("GET", _DEVICES, accessToken=accessToken, query=qbdiInDTO)


class DeviceGroupManagement:
    """Make, change and delete device groups; put devices into them and take them out."""

    def createDeviceGroup(self, cdgInDTO: object, accessToken: str) -> str:
        """Make a group; takes a ``CreateDeviceGroupInDTO``. The answer has ``id``."""
        return ask("POST", _GROUPS, accessToken=accessToken, body=cdgInDTO)

    def modifyDeviceGroup(
        self, mdgInDTO: object, devGroupId: str, accessAppId: str | None, accessToken: str
    ) -> str:
        """Change a group; takes a ``ModifyDeviceGroupInDTO``."""
        path = f"{_GROUPS}/{segment(devGroupId)}"
        return ask("PUT", path, accessToken=accessToken, body=mdgInDTO, query={"accessAppId": accessAppId})

    def deleteDeviceGroup(self, devGroupId: str, accessAppId: str | None, accessToken: str) -> str:
        """Delete a group. The answer is empty."""
        path = f"{_GROUPS}/{segment(devGroupId)}"
        return ask("DELETE", path, accessToken=accessToken, query={"accessAppId": accessAppId})

    def queryDeviceGroups(self, qdgInDTO: object, accessToken: str) -> str:
        """List groups; takes a ``QueryDeviceGroupsInDTO``."""
        return ask("GET", _GROUPS, accessToken=accessToken, query=qdgInDTO)

    def querySingleDeviceGroup(self, devGroupId: str, accessAppId: str | None, accessToken: str) -> str:
        """Query one group."""
        path = f"{_GROUPS}/{segment(devGroupId)}"
        return ask("GET", path, accessToken=accessToken, query={"accessAppId": accessAppId})

    def queryDeviceGroupMembers(self, qdgmInDTO: object, accessToken: str) -> str:
        """List the devices of a group; takes a ``QueryDeviceGroupMembersInDTO``."""
        return ask("GET", "/iocm/app/dm/v1.2.0/devices/ids", accessToken=accessToken, query=qdgmInDTO)

    def addDevicesToGroup(self, dgwdlDTO: object, accessAppId: str | None, accessToken: str) -> str:
        """Put devices into a group; takes a ``DeviceGroupWithDeviceListDTO``."""
        path = "/iocm/app/dm/v1.1.0/devices/addDevGroupTagToDevices"
        return ask("POST", path, accessToken=accessToken, body=dgwdlDTO, query={"accessAppId": accessAppId})

    def deleteDevicesFromGroup(self, dgwdlDTO: object, accessAppId: str | None, accessToken: str) -> str:
        """Take devices out of a group; takes a ``DeviceGroupWithDeviceListDTO``."""
        path = "/iocm/app/dm/v1.1.0/devices/deleteDevGroupTagFromDevices"
        return ask("POST", path, accessToken=accessToken, body=dgwdlDTO, query={"accessAppId": accessAppId})
