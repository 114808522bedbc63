"""The names of the original SDK, written down from its documents and not from this code.

Each class with its attributes in the documents' words, each call with its parameters, and where the original
had each of them.
"""

import importlib
import inspect
import subprocess
import sys

import pytest

from fleetbell_sdk import legacy

ATTRIBUTES = {
    "ClientInfo": "platformIp platformPort appId secret",
    "AuthOutDTO": "scope tokenType expiresIn accessToken refreshToken",
    "AuthRefreshInDTO": "appId secret refreshToken",
    "AuthRefreshOutDTO": "scope tokenType expiresIn accessToken refreshToken",
    "SubDeviceBusinessDataInDTO": "appId notifyType callbackUrl ownerFlag",
    "SubDeviceManagementDataInDTO": "notifyType callbackurl",
    "SubscriptionDTO": "subscriptionId notifyType callbackurl",
    "QueryBatchSubInDTO": "appId notifyType pageNo pageSize",
    "QueryBatchSubOutDTO": "totalCount pageNo pageSize subscriptions",
    "DeleteBatchSubInDTO": "appId notifyType callbackUrl",
    "QueryUpgradePackageListInDTO": "fileType deviceType model manufacturerName version pageNo pageSize",
    "QueryUpgradePackageListOutDTO": "data pageNo pageSize totalCount",
    "QueryUpgradePackageOutDTO": (
        "fileId name version fileType deviceType model manufacturerName protocolType description date"
        " uploadTime"
    ),
    "CreateUpgradeTaskInDTO": "fileId targets policy",
    "CreateUpgradeTaskOutDTO": "operationId",
    "OperateDevices": "deviceGroups deviceType model manufacturerName devices",
    "OperatePolicy": "executeType startTime endTime retryType retryTimes",
    "QueryUpgradeSubTaskInDTO": "subOperationStatus pageNo pageSize",
    "QueryUpgradeSubTaskOutDTO": "data pageNo pageSize totalCount",
    "QueryUpgradeTaskListInDTO": (
        "operationType operationStatus deviceType model manufacturerName deviceId pageNo pageSize"
    ),
    "QueryUpgradeTaskListOutDTO": "data pageNo pageSize totalCount",
    "OperationInfo": (
        "operationId createTime startTime stopTime operateType targets policy status staResult extendPara"
    ),
    "QueryUpgradeTaskOutDTO": (
        "operationId createTime startTime stopTime operateType targets policy status staResult extendPara"
    ),
    "OperationStaResult": "total wait processing success fail stop timeout",
    "SubOperationInfo": (
        "subOperationId createTime startTime stopTime operateType deviceId status detailInfo extendInfo"
    ),
    "NotifySwUpgradeStateChangedDTO": "notifyType deviceId appId operationId subOperationId swUpgradeState",
    "NotifySwUpgradeResultDTO": (
        "notifyType deviceId appId operationId subOperationId curVersion targetVersion sourceVersion"
        " swUpgradeResult upgradeTime resultDesc errorCode description"
    ),
    "NotifyFwUpgradeStateChangedDTO": "notifyType deviceId appId operationId subOperationId step stepDesc",
    "NotifyFwUpgradeResultDTO": (
        "notifyType deviceId appId operationId subOperationId curVersion targetVersion sourceVersion"
        " Status statusDesc upgradeTime"
    ),
    "NotifyDeviceAddedDTO": "notifyType deviceId gatewayId nodeType deviceInfo",
    "NotifyDeviceInfoChangedDTO": "notifyType deviceId gatewayId deviceInfo",
    "NotifyDeviceDeletedDTO": "notifyType deviceId gatewayId",
    "RegDirectDeviceOutDTO": "deviceId verifyCode timeout psk",
    "RefreshDeviceKeyInDTO": "deviceId verifyCode nodeId timeout",
    "RefreshDeviceKeyOutDTO": "verifyCode timeout",
    "QueryDeviceStatusOutDTO": "deviceId activated name",
    "QuerySingleDeviceInfoOutDTO": (
        "deviceId gatewayId nodeType createTime lastModifiedTime deviceInfo services"
    ),
    "QueryBatchDevicesInfoOutDTO": "totalCount pageNo pageSize devices",
    "CreateDeviceGroupInDTO": "name description appId maxDevNum deviceIds id",
    "CreateDeviceGroupOutDTO": "name description id appId maxDevNum curDevNum creator",
    "ModifyDeviceGroupInDTO": "name description maxDevNum",
    "ModifyDeviceGroupOutDTO": "name description id appId maxDevNum curDevNum creator",
    "QuerySingleDeviceGroupOutDTO": "name description id appId maxDevNum curDevNum creator",
    "QueryDeviceGroupsInDTO": "accessAppId pageNo pageSize name",
    "QueryDeviceGroupsOutDTO": "totalCount pageNo pageSize list",
    "QueryDeviceGroupMembersInDTO": "devGroupId accessAppId pageNo pageSize",
    "QueryDeviceGroupMembersOutDTO": "totalCount pageNo pageSize deviceIds",
    "DeviceGroupWithDeviceListDTO": "devGroupId deviceIds accessAppId",
}
# The editions of the documents differ in what these have, so ours have what any of them has.
ATTRIBUTES_AMONG_OTHERS = {
    "RegDirectDeviceInDTO": (
        "verifyCode nodeId endUserId psk timeout imsi isSecure productId deviceInfo account customFields"
        " deviceInfo2 deviceName groupId location tags"
    ),
    "ModifyDeviceInfoInDTO": (
        "customFields deviceConfig deviceType endUser location manufacturerId manufacturerName model mute"
        " name organization protocolType region timezone imsi ip isSecure psk tags"
    ),
    "QueryBatchDevicesInfoInDTO": (
        "appId gatewayId status nodeType deviceType pageNo pageSize startTime endTime sort select"
    ),
    "DeviceInfoDTO": (
        "nodeId name description manufacturerId manufacturerName mac location model swVersion fwVersion"
        " hwVersion protocolType bridgeId status statusDetail mute supportedSecurity isSecurity"
        " signalStrength sigVersion serialNumber batteryLevel"
    ),
    "DeviceInfo": (
        "nodeId name description manufacturerId manufacturerName mac location deviceType model swVersion"
        " fwVersion hwVersion protocolType bridgeId status statusDetail mute supportedSecurity isSecurity"
        " signalStrength sigVersion serialNumber batteryLevel"
    ),
}
MISSPELT = {"AuthOutDTO": ("setEexpiresIn", "expiresIn"), "CreateUpgradeTaskInDTO": ("getFileIde", "fileId")}

CALLS = {
    "Authentication": {"getAuthToken": "clientInfo", "refreshAuthToken": "arInDTO"},
    "SubscriptionManagement": {
        "subDeviceBusinessData": "sdbdInDTO accessToken",
        "subDeviceManagementData": "sdmdInDTO accessToken",
        "querySingleSubscription": "subscriptionId appId accessToken",
        "queryBatchSubscriptions": "qbsInDTO accessToken",
        "deleteSingleSubscription": "subscriptionId appId accessToken",
        "deleteBatchSubscriptions": "dbsInDTO accessToken",
    },
    "DeviceUpgrade": {
        "queryUpgradePackageList": "quplInDTO accessToken",
        "queryUpgradePackage": "fileId accessToken",
        "deleteUpgradePackage": "fileId accessToken",
        "createSoftwareUpgradeTask": "cutInDTO accessToken",
        "createFirmwareUpgradeTask": "cutInDTO accessToken",
        "queryUpgradeTask": "operationId accessToken",
        "queryUpgradeSubTask": "qustInDTO operationId accessToken",
        "queryUpgradeTaskList": "qutlInDTO accessToken",
    },
    "DeviceManagement": {
        "regDirectDevice": "rddInDto appId accessToken",
        "refreshDeviceKey": "rdkInDTO appId accessToken",
        "modifyDeviceInfo": "mdiInDto deviceId appId accessToken",
        "deleteDirectDevice": "deviceId cascade appId accessToken",
        "queryDeviceStatus": "deviceId appId accessToken",
    },
    "DataCollection": {
        "querySingleDeviceInfo": "deviceId select appId accessToken",
        "queryBatchDevicesInfo": "qbdiInDTO accessToken",
    },
    "DeviceGroupManagement": {
        "createDeviceGroup": "cdgInDTO accessToken",
        "modifyDeviceGroup": "mdgInDTO devGroupId accessAppId accessToken",
        "deleteDeviceGroup": "devGroupId accessAppId accessToken",
        "queryDeviceGroups": "qdgInDTO accessToken",
        "querySingleDeviceGroup": "devGroupId accessAppId accessToken",
        "queryDeviceGroupMembers": "qdgmInDTO accessToken",
        "addDevicesToGroup": "dgwdlDTO accessAppId accessToken",
        "deleteDevicesFromGroup": "dgwdlDTO accessAppId accessToken",
    },
    "Constant": {"clientInfo": "", "readConfFile": "", "readCertificate": ""},
    "PushMessageReceiver": dict.fromkeys(
        (
            *("handleDeviceAdded", "handleBindDevice", "handleDeviceInfoChanged", "handleDeviceDataChanged"),
            *("handleDeviceDatasChanged", "handleServiceInfoChanged", "handleDeviceDeleted"),
            *("handleMessageConfirm", "handleCommandRsp", "handleDeviceEvent", "handleDeviceModelAdded"),
            *("handleDeviceModelDeleted", "handleRuleEvent", "handleDeviceDesiredStatusChanged"),
            *("handleSwUpgradeStateChanged", "handleSwUpgradeResult"),
            *("handleFwUpgradeStateChanged", "handleFwUpgradeResult"),
        ),
        "",
    ),
}
CONSTANTS = (
    "HTTPGET HTTPPOST HTTPPUT HTTPDELETE BASE_URL APP_AUTH REFRESH_TOKEN AUTH_LOGOUT"
    " REG_DIRECT_DEVICE REFRESH_DEVICE_KEY MODIFY_DEVICE_INFO QUERY_DEVICE_STATUS"
    " QUERY_SINGLE_DEVICE_INFO QUERY_BATCH_DEVICES_INFO SUB_DEVICE_BUSINESS_DATA"
    " SUB_DEVICE_MANAGEMENT_DATA QUERY_SINGLE_SUB_SCRIPTION QUERY_BATCH_SUB_SCRIPTIONS"
    " DELETE_SINGLE_SUB_SCRIPTION DELETE_BATCH_SUB_SCRIPTIONS QUERY_UPGRADE_PACKAGE_LIST"
    " QUERY_UPGRADE_PACKAGE DELETE_UPGRADE_PACKAGE CREATE_SOFTWARE_UPGRADE_TASK"
    " CREATE_FIRMWARE_UPGRADE_TASK QUERY_UPGRADE_TASK QUERY_UPGRADE_SUB_TASK"
    " QUERY_UPGRADE_TASK_LIST CREATE_DEVICE_GROUP DELETE_DEVICE_GROUP MODIFY_DEVICE_GROUP"
    " QUERY_DEVICE_GROUPS QUERY_SINGLE_DEVICE_GROUP QUERY_DEVICE_GROUP_MEMBERS"
    " ADD_DEVICES_TO_GROUP DELETE_DEVICES_FROM_GROUP"
)
DTOS = {*ATTRIBUTES, *ATTRIBUTES_AMONG_OTHERS}
PLACES = {
    **{f"client.dto.{name}": name for name in DTOS},
    **{f"client.invokeapi.{name}": name for name in CALLS if name != "Constant"},
    "client.NorthApiClient": "NorthApiClient",
    "constant.Constant": "Constant",
    "constant.RestConstant": "RestConstant",
    "utils.DictUtil": "DictUtil",
    "utils.LogUtil": "Log",
}


def capital(name: str) -> str:
    return name[0].upper() + name[1:]


@pytest.mark.parametrize("name", sorted(ATTRIBUTES))
def test_a_dto_has_the_attributes_of_the_original_and_no_other(name: str) -> None:
    dto = getattr(legacy, name)()
    attributes = ATTRIBUTES[name].split()

    found = {key for key in dir(dto) if not key.startswith("_") and not callable(getattr(dto, key))}

    assert found - {"FIELDS"} == set(attributes)


@pytest.mark.parametrize("name", sorted(DTOS))
def test_every_attribute_starts_as_none_and_has_its_pair(name: str) -> None:
    kind = getattr(legacy, name)
    for attribute in (ATTRIBUTES | ATTRIBUTES_AMONG_OTHERS)[name].split():
        dto = kind()
        assert getattr(dto, attribute) is None
        assert getattr(dto, f"get{capital(attribute)}")() is None
        getattr(dto, f"set{capital(attribute)}")("x")
        assert getattr(dto, attribute) == "x"
        assert getattr(dto, f"get{capital(attribute)}")() == "x"
        assert getattr(kind(), attribute) is None  # each object has its own


def test_the_misspelt_accessors_are_there_beside_the_right_ones() -> None:
    authOutDTO, cutInDTO = legacy.AuthOutDTO(), legacy.CreateUpgradeTaskInDTO()

    authOutDTO.setEexpiresIn(3600)
    cutInDTO.setFileId("pkg-55")

    assert authOutDTO.getExpiresIn() == 3600
    assert cutInDTO.getFileIde() == cutInDTO.getFileId() == "pkg-55"
    for name, (accessor, attribute) in MISSPELT.items():
        assert hasattr(getattr(legacy, name), accessor)
        assert attribute in ATTRIBUTES[name].split()


def test_every_dto_that_we_have_is_one_of_these() -> None:
    ours = {
        name
        for name in legacy.__all__
        if isinstance(getattr(legacy, name), type) and hasattr(getattr(legacy, name), "FIELDS")
    }

    assert ours == DTOS


@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_class_has_the_calls_of_the_original_with_their_parameters(name: str) -> None:
    kind = getattr(legacy, name)
    for call, parameters in CALLS[name].items():
        found = [one for one in inspect.signature(getattr(kind, call)).parameters if one != "self"]
        assert found == parameters.split(), call


def test_the_constants_of_the_original_are_there() -> None:
    found = {name: value for name, value in vars(legacy.RestConstant).items() if name.isupper()}

    assert set(CONSTANTS.split()) <= set(found)
    assert all(isinstance(value, str) for value in found.values())


@pytest.mark.parametrize(("place", "name"), sorted(PLACES.items()))
def test_each_name_is_where_the_original_had_it(place: str, name: str) -> None:
    module = importlib.import_module(f"fleetbell_sdk.legacy.{place}")

    assert getattr(module, name) is getattr(legacy, name)


PROGRAM = """
from com.huawei.iotplatform.client.dto.AuthOutDTO import AuthOutDTO
from com.huawei.iotplatform.client.invokeapi.Authentication import Authentication
from com.huawei.iotplatform.client.invokeapi.PushMessageReceiver import PushMessageReceiver, app
from com.huawei.iotplatform.constant.Constant import Constant
import com.huawei.iotplatform.client.dto.OperateDevices as devices
import com.huawei.iotplatform.utils.DictUtil

authOutDTO = AuthOutDTO()
authOutDTO.setAccessToken("t")
print(authOutDTO.getAccessToken(), Authentication.__name__, Constant.__name__, app.name)
print(devices.OperateDevices().devices, com.huawei.iotplatform.utils.DictUtil.DictUtil.__name__)
"""


def test_imports_change_at_their_beginning_only() -> None:
    program = PROGRAM.replace("com.huawei.iotplatform", "fleetbell_sdk.legacy")

    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert done.stdout == "t Authentication Constant push_message_receiver\nNone DictUtil\n"
