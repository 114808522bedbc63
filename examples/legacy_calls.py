# mypy: ignore-errors
"""Every call of the original Python SDK, made as its documents show it. Only its imports are new.

``com.huawei.iotplatform`` has become ``fleetbell_sdk.legacy``. Settings come from
``resources/application.ini``. Run it with the ids of a software package, of a firmware package and of one to
delete, and with a callback URL::

    python legacy_calls.py SOFTWARE FIRMWARE UNUSED https://203.0.113.7:8443/v1.0.0/messageReceiver
"""

import json
import sys

from fleetbell_sdk.legacy.client.dto.AuthOutDTO import AuthOutDTO
from fleetbell_sdk.legacy.client.dto.AuthRefreshInDTO import AuthRefreshInDTO
from fleetbell_sdk.legacy.client.dto.AuthRefreshOutDTO import AuthRefreshOutDTO
from fleetbell_sdk.legacy.client.dto.CreateDeviceGroupInDTO import CreateDeviceGroupInDTO
from fleetbell_sdk.legacy.client.dto.CreateUpgradeTaskInDTO import CreateUpgradeTaskInDTO
from fleetbell_sdk.legacy.client.dto.DeleteBatchSubInDTO import DeleteBatchSubInDTO
from fleetbell_sdk.legacy.client.dto.DeviceGroupWithDeviceListDTO import DeviceGroupWithDeviceListDTO
from fleetbell_sdk.legacy.client.dto.ModifyDeviceGroupInDTO import ModifyDeviceGroupInDTO
from fleetbell_sdk.legacy.client.dto.ModifyDeviceInfoInDTO import ModifyDeviceInfoInDTO
from fleetbell_sdk.legacy.client.dto.OperateDevices import OperateDevices
from fleetbell_sdk.legacy.client.dto.OperatePolicy import OperatePolicy
from fleetbell_sdk.legacy.client.dto.QueryBatchDevicesInfoInDTO import QueryBatchDevicesInfoInDTO
from fleetbell_sdk.legacy.client.dto.QueryBatchSubInDTO import QueryBatchSubInDTO
from fleetbell_sdk.legacy.client.dto.QueryDeviceGroupMembersInDTO import QueryDeviceGroupMembersInDTO
from fleetbell_sdk.legacy.client.dto.QueryDeviceGroupsInDTO import QueryDeviceGroupsInDTO
from fleetbell_sdk.legacy.client.dto.QueryUpgradePackageListInDTO import QueryUpgradePackageListInDTO
from fleetbell_sdk.legacy.client.dto.QueryUpgradeSubTaskInDTO import QueryUpgradeSubTaskInDTO
from fleetbell_sdk.legacy.client.dto.QueryUpgradeTaskListInDTO import QueryUpgradeTaskListInDTO
from fleetbell_sdk.legacy.client.dto.RefreshDeviceKeyInDTO import RefreshDeviceKeyInDTO
from fleetbell_sdk.legacy.client.dto.RegDirectDeviceInDTO import RegDirectDeviceInDTO
from fleetbell_sdk.legacy.client.dto.SubDeviceBusinessDataInDTO import SubDeviceBusinessDataInDTO
from fleetbell_sdk.legacy.client.dto.SubDeviceManagementDataInDTO import SubDeviceManagementDataInDTO
from fleetbell_sdk.legacy.client.invokeapi.Authentication import Authentication
from fleetbell_sdk.legacy.client.invokeapi.DataCollection import DataCollection
from fleetbell_sdk.legacy.client.invokeapi.DeviceGroupManagement import DeviceGroupManagement
from fleetbell_sdk.legacy.client.invokeapi.DeviceManagement import DeviceManagement
from fleetbell_sdk.legacy.client.invokeapi.DeviceUpgrade import DeviceUpgrade
from fleetbell_sdk.legacy.client.invokeapi.SubscriptionManagement import SubscriptionManagement
from fleetbell_sdk.legacy.constant.Constant import Constant


def told(call, result):
    """Print what a call returned, which is always a text, and hand it on as an object."""
    print(call, result if result else '""', flush=True)
    return json.loads(result) if result else None


def authenticate():
    authentication = Authentication()
    authOutDTO = AuthOutDTO()
    answer = told("getAuthToken", authentication.getAuthToken(Constant().clientInfo()))
    authOutDTO.setAccessToken(answer["accessToken"])
    authOutDTO.setRefreshToken(answer["refreshToken"])
    authOutDTO.setEexpiresIn(answer["expiresIn"])

    arInDTO = AuthRefreshInDTO()
    arInDTO.setAppId(Constant().clientInfo()["appId"])
    arInDTO.setSecret(Constant().clientInfo()["secret"])
    arInDTO.setRefreshToken(authOutDTO.getRefreshToken())
    arOutDTO = AuthRefreshOutDTO()
    arOutDTO.setAccessToken(told("refreshAuthToken", authentication.refreshAuthToken(arInDTO))["accessToken"])
    return arOutDTO.getAccessToken()


def devices(accessToken):
    """Register two devices, change one and look at them."""
    deviceManagement, dataCollection = DeviceManagement(), DataCollection()
    deviceIds = []
    for nodeId in ("old-meter-1", "old-meter-2"):
        rddInDto = RegDirectDeviceInDTO()
        rddInDto.nodeId = nodeId
        rddInDto.timeout = "0"
        answer = told("regDirectDevice", deviceManagement.regDirectDevice(rddInDto, None, accessToken))
        deviceIds.append(answer["deviceId"])
        mdiInDto = ModifyDeviceInfoInDTO()
        mdiInDto.name = nodeId
        mdiInDto.manufacturerName = "Acme"
        mdiInDto.deviceType = "WaterMeter"
        mdiInDto.model = "WM10"
        mdiInDto.mute = "FALSE"
        result = deviceManagement.modifyDeviceInfo(mdiInDto, answer["deviceId"], None, accessToken)
        told("modifyDeviceInfo", result)

    rdkInDTO = RefreshDeviceKeyInDTO()
    rdkInDTO.deviceId = deviceIds[0]
    rdkInDTO.verifyCode = "old-meter-code"
    told("refreshDeviceKey", deviceManagement.refreshDeviceKey(rdkInDTO, None, accessToken))
    told("queryDeviceStatus", deviceManagement.queryDeviceStatus(deviceIds[0], None, accessToken))
    told(
        "querySingleDeviceInfo",
        dataCollection.querySingleDeviceInfo(deviceIds[0], "imsi", None, accessToken),
    )
    qbdiInDTO = QueryBatchDevicesInfoInDTO()
    qbdiInDTO.pageNo = "0"
    qbdiInDTO.pageSize = "10"
    told("queryBatchDevicesInfo", dataCollection.queryBatchDevicesInfo(qbdiInDTO, accessToken))
    return deviceIds


def group(deviceIds, accessToken):
    """Put the devices into a group."""
    deviceGroupManagement = DeviceGroupManagement()
    cdgInDTO = CreateDeviceGroupInDTO()
    cdgInDTO.name = "old-hall"
    cdgInDTO.deviceIds = deviceIds[:1]
    devGroupId = told("createDeviceGroup", deviceGroupManagement.createDeviceGroup(cdgInDTO, accessToken))[
        "id"
    ]
    dgwdlDTO = DeviceGroupWithDeviceListDTO()
    dgwdlDTO.devGroupId = devGroupId
    dgwdlDTO.deviceIds = deviceIds
    told("addDevicesToGroup", deviceGroupManagement.addDevicesToGroup(dgwdlDTO, None, accessToken))
    mdgInDTO = ModifyDeviceGroupInDTO()
    mdgInDTO.description = "ground floor"
    told(
        "modifyDeviceGroup", deviceGroupManagement.modifyDeviceGroup(mdgInDTO, devGroupId, None, accessToken)
    )
    told("queryDeviceGroups", deviceGroupManagement.queryDeviceGroups(QueryDeviceGroupsInDTO(), accessToken))
    told(
        "querySingleDeviceGroup",
        deviceGroupManagement.querySingleDeviceGroup(devGroupId, None, accessToken),
    )
    qdgmInDTO = QueryDeviceGroupMembersInDTO()
    qdgmInDTO.devGroupId = devGroupId
    told("queryDeviceGroupMembers", deviceGroupManagement.queryDeviceGroupMembers(qdgmInDTO, accessToken))
    return devGroupId


def subscribe(callbackUrl, accessToken):
    subscriptionManagement = SubscriptionManagement()
    sdbdInDTO = SubDeviceBusinessDataInDTO()
    sdbdInDTO.notifyType = "deviceAdded"
    sdbdInDTO.callbackUrl = callbackUrl
    answer = told(
        "subDeviceBusinessData", subscriptionManagement.subDeviceBusinessData(sdbdInDTO, accessToken)
    )
    sdmdInDTO = SubDeviceManagementDataInDTO()
    sdmdInDTO.notifyType = "swUpgradeResultNotify"
    sdmdInDTO.callbackurl = callbackUrl
    told("subDeviceManagementData", subscriptionManagement.subDeviceManagementData(sdmdInDTO, accessToken))
    qbsInDTO = QueryBatchSubInDTO()
    qbsInDTO.notifyType = "swUpgradeResultNotify"
    qbsInDTO.pageNo = "0"
    qbsInDTO.pageSize = "10"
    told("queryBatchSubscriptions", subscriptionManagement.queryBatchSubscriptions(qbsInDTO, accessToken))
    subscriptionId = answer["subscriptionId"]
    told(
        "querySingleSubscription",
        subscriptionManagement.querySingleSubscription(subscriptionId, None, accessToken),
    )
    told(
        "deleteSingleSubscription",
        subscriptionManagement.deleteSingleSubscription(subscriptionId, None, accessToken),
    )
    dbsInDTO = DeleteBatchSubInDTO()
    dbsInDTO.callbackUrl = callbackUrl
    told("deleteBatchSubscriptions", subscriptionManagement.deleteBatchSubscriptions(dbsInDTO, accessToken))


def upgrade(software, firmware, deviceIds, accessToken):
    deviceUpgrade = DeviceUpgrade()
    quplInDTO = QueryUpgradePackageListInDTO()
    quplInDTO.fileType = "softwarePackage"
    told("queryUpgradePackageList", deviceUpgrade.queryUpgradePackageList(quplInDTO, accessToken))
    told("queryUpgradePackage", deviceUpgrade.queryUpgradePackage(software, accessToken))

    cutInDTO = CreateUpgradeTaskInDTO()
    cutInDTO.setFileId(software)
    cutInDTO.targets = {"devices": deviceIds[:1]}
    answer = told("createSoftwareUpgradeTask", deviceUpgrade.createSoftwareUpgradeTask(cutInDTO, accessToken))
    operationId = answer["operationId"]

    operateDevices, operatePolicy = OperateDevices(), OperatePolicy()
    operateDevices.deviceGroups = ["old-hall"]
    operateDevices.manufacturerName = "Acme"
    operateDevices.deviceType = "WaterMeter"
    operateDevices.model = "WM10"
    operatePolicy.executeType = "device_online"
    cutInDTO = CreateUpgradeTaskInDTO()
    cutInDTO.setFileId(firmware)
    cutInDTO.setTargets(operateDevices)
    cutInDTO.setPolicy(operatePolicy)
    told("createFirmwareUpgradeTask", deviceUpgrade.createFirmwareUpgradeTask(cutInDTO, accessToken))

    told("queryUpgradeTask", deviceUpgrade.queryUpgradeTask(operationId, accessToken))
    qustInDTO = QueryUpgradeSubTaskInDTO()
    qustInDTO.pageSize = "1"
    told("queryUpgradeSubTask", deviceUpgrade.queryUpgradeSubTask(qustInDTO, operationId, accessToken))
    qutlInDTO = QueryUpgradeTaskListInDTO()
    qutlInDTO.deviceId = deviceIds[0]
    told("queryUpgradeTaskList", deviceUpgrade.queryUpgradeTaskList(qutlInDTO, accessToken))


def tidy(unused, deviceId, devGroupId, accessToken):
    """Delete what no task needs."""
    deviceGroupManagement = DeviceGroupManagement()
    dgwdlDTO = DeviceGroupWithDeviceListDTO()
    dgwdlDTO.devGroupId = devGroupId
    dgwdlDTO.deviceIds = [deviceId]
    told("deleteDevicesFromGroup", deviceGroupManagement.deleteDevicesFromGroup(dgwdlDTO, None, accessToken))
    told("deleteDeviceGroup", deviceGroupManagement.deleteDeviceGroup(devGroupId, None, accessToken))
    told("deleteDirectDevice", DeviceManagement().deleteDirectDevice(deviceId, "true", None, accessToken))
    told("deleteUpgradePackage", DeviceUpgrade().deleteUpgradePackage(unused, accessToken))


def main(software, firmware, unused, callbackUrl):
    accessToken = authenticate()
    deviceIds = devices(accessToken)
    devGroupId = group(deviceIds, accessToken)
    subscribe(callbackUrl, accessToken)
    upgrade(software, firmware, deviceIds[:1], accessToken)
    rddInDto = RegDirectDeviceInDTO()
    rddInDto.nodeId = "old-meter-3"
    answer = told("regDirectDevice", DeviceManagement().regDirectDevice(rddInDto, None, accessToken))
    tidy(unused, answer["deviceId"], devGroupId, accessToken)


if __name__ == "__main__":
    main(*sys.argv[1:])
