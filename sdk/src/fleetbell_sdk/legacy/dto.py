"""The parameter and result objects of the original SDK, under their own names.

Each has its fields as attributes, None until set, and a ``getX``/``setX`` pair for each. A field that is
None is not sent. Other attributes may be set and are sent too, as the original did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

__all__ = [
    "AuthOutDTO",
    "AuthRefreshInDTO",
    "AuthRefreshOutDTO",
    "ClientInfo",
    "CreateDeviceGroupInDTO",
    "CreateDeviceGroupOutDTO",
    "CreateUpgradeTaskInDTO",
    "CreateUpgradeTaskOutDTO",
    "DeleteBatchSubInDTO",
    "DeviceGroupWithDeviceListDTO",
    "DeviceInfo",
    "DeviceInfoDTO",
    "Dto",
    "ModifyDeviceGroupInDTO",
    "ModifyDeviceGroupOutDTO",
    "ModifyDeviceInfoInDTO",
    "NotifyDeviceAddedDTO",
    "NotifyDeviceDeletedDTO",
    "NotifyDeviceInfoChangedDTO",
    "NotifyFwUpgradeResultDTO",
    "NotifyFwUpgradeStateChangedDTO",
    "NotifySwUpgradeResultDTO",
    "NotifySwUpgradeStateChangedDTO",
    "OperateDevices",
    "OperatePolicy",
    "OperationInfo",
    "OperationStaResult",
    "QueryBatchDevicesInfoInDTO",
    "QueryBatchDevicesInfoOutDTO",
    "QueryBatchSubInDTO",
    "QueryBatchSubOutDTO",
    "QueryDeviceGroupMembersInDTO",
    "QueryDeviceGroupMembersOutDTO",
    "QueryDeviceGroupsInDTO",
    "QueryDeviceGroupsOutDTO",
    "QueryDeviceStatusOutDTO",
    "QuerySingleDeviceGroupOutDTO",
    "QuerySingleDeviceInfoOutDTO",
    "QueryUpgradePackageListInDTO",
    "QueryUpgradePackageListOutDTO",
    "QueryUpgradePackageOutDTO",
    "QueryUpgradeSubTaskInDTO",
    "QueryUpgradeSubTaskOutDTO",
    "QueryUpgradeTaskListInDTO",
    "QueryUpgradeTaskListOutDTO",
    "QueryUpgradeTaskOutDTO",
    "RefreshDeviceKeyInDTO",
    "RefreshDeviceKeyOutDTO",
    "RegDirectDeviceInDTO",
    "RegDirectDeviceOutDTO",
    "SubDeviceBusinessDataInDTO",
    "SubDeviceManagementDataInDTO",
    "SubOperationInfo",
    "SubscriptionDTO",
    "every_kind",
    "fields_of",
]


class Dto:
    """What all of them share: fields that start as None, and a getter and a setter for each."""

    FIELDS: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, fields: str = "") -> None:
        super().__init_subclass__()
        own = tuple(fields.split())
        cls.FIELDS = (*cls.FIELDS, *own)
        for name in own:
            setattr(cls, name, None)
            capital = name[:1].upper() + name[1:]
            setattr(cls, f"get{capital}", _getter(name))
            setattr(cls, f"set{capital}", _setter(name))

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({', '.join(map(str, fields_of(self)))})"  # names only: some are secrets
        )

    if TYPE_CHECKING:  # attributes and accessors are made per class from its field names

        def __getattr__(self, name: str) -> Callable[..., object]: ...

        def __setattr__(self, name: str, value: object) -> None: ...


def _getter(name: str) -> Callable[[Dto], object]:
    def get(self: Dto) -> object:
        return getattr(self, name)

    return get


def _setter(name: str) -> Callable[[Dto, object], None]:
    def put(self: Dto, value: object) -> None:
        setattr(self, name, value)

    return put


def fields_of(dto: object) -> dict[Any, Any]:
    """The fields that are set, in alphabetical order, with objects inside turned into dictionaries too.

    A plain dictionary is taken for an object. (The original turned only the outermost object, so that
    callers had to pass ``targets`` and ``policy`` as dictionaries. Both work here.)
    """
    if dto is None:
        return {}
    if isinstance(dto, dict):
        return _plain_items(dto)
    names = {name for name in vars(dto) if not name.startswith("_")}
    names |= set(getattr(dto, "FIELDS", ()))
    return _plain_items({name: getattr(dto, name) for name in sorted(names)})


def every_kind() -> list[type[Dto]]:
    """Each of the classes, by name."""
    kinds = [kind for kind in globals().values() if isinstance(kind, type) and issubclass(kind, Dto)]
    return sorted((kind for kind in kinds if kind is not Dto), key=lambda kind: kind.__name__)


def _plain_items(values: Mapping[object, object]) -> dict[object, object]:
    return {name: _plain(value) for name, value in values.items() if value is not None}


def _plain(value: object) -> object:
    match value:
        case Dto():
            return fields_of(value)
        case dict():
            return _plain_items(value)
        case list() | tuple():
            return [_plain(item) for item in value]
    return value


class ClientInfo(Dto, fields="platformIp platformPort appId secret"):
    """Which platform, and which application."""


class AuthOutDTO(Dto, fields="scope tokenType expiresIn accessToken refreshToken"):
    """What a login gives."""

    def setEexpiresIn(self, expiresIn: object) -> None:
        """The original's misspelling of ``setExpiresIn``."""
        self.expiresIn = expiresIn


class AuthRefreshInDTO(Dto, fields="appId secret refreshToken"):
    """What a refresh needs."""


class AuthRefreshOutDTO(AuthOutDTO):
    """What a refresh gives."""


class SubDeviceBusinessDataInDTO(Dto, fields="appId notifyType callbackUrl ownerFlag"):
    """A subscription to service data."""


class SubDeviceManagementDataInDTO(Dto, fields="notifyType callbackurl"):
    """A subscription to upgrade news. The URL's name has no capital here."""


class SubscriptionDTO(Dto, fields="subscriptionId notifyType callbackurl"):
    """A subscription."""


class QueryBatchSubInDTO(Dto, fields="appId notifyType pageNo pageSize"):
    """Which subscriptions to list."""


class QueryBatchSubOutDTO(Dto, fields="totalCount pageNo pageSize subscriptions"):
    """A page of subscriptions."""


class DeleteBatchSubInDTO(Dto, fields="appId notifyType callbackUrl"):
    """Which subscriptions to delete."""


class QueryUpgradePackageListInDTO(
    Dto, fields="fileType deviceType model manufacturerName version pageNo pageSize"
):
    """Which packages to list."""


class QueryUpgradePackageOutDTO(
    Dto,
    fields=(
        "fileId name version fileType deviceType model manufacturerName protocolType description date"
        " uploadTime"
    ),
):
    """A package."""


class QueryUpgradePackageListOutDTO(Dto, fields="data pageNo pageSize totalCount"):
    """A page of packages."""


class OperateDevices(Dto, fields="deviceGroups deviceType model manufacturerName devices"):
    """What a task is for."""


class OperatePolicy(Dto, fields="executeType startTime endTime retryType retryTimes"):
    """When a task runs."""


class CreateUpgradeTaskInDTO(Dto, fields="fileId targets policy"):
    """An upgrade task to create."""

    def getFileIde(self) -> object:
        """The original's misspelling of ``getFileId``."""
        return self.fileId


class CreateUpgradeTaskOutDTO(Dto, fields="operationId"):
    """The task that was created."""


class OperationInfo(
    Dto,
    fields="operationId createTime startTime stopTime operateType targets policy status staResult extendPara",
):
    """A task."""


class QueryUpgradeTaskOutDTO(OperationInfo):
    """A task that was asked for."""


class OperationStaResult(Dto, fields="total wait processing success fail stop timeout"):
    """The tallies of a task."""


class QueryUpgradeTaskListInDTO(
    Dto, fields="operationType operationStatus deviceType model manufacturerName deviceId pageNo pageSize"
):
    """Which tasks to list."""


class QueryUpgradeTaskListOutDTO(Dto, fields="data pageNo pageSize totalCount"):
    """A page of tasks."""


class QueryUpgradeSubTaskInDTO(Dto, fields="subOperationStatus pageNo pageSize"):
    """Which sub tasks to list."""


class SubOperationInfo(
    Dto,
    fields="subOperationId createTime startTime stopTime operateType deviceId status detailInfo extendInfo",
):
    """A sub task."""


class QueryUpgradeSubTaskOutDTO(Dto, fields="data pageNo pageSize totalCount"):
    """A page of sub tasks."""


class DeviceInfoDTO(
    Dto,
    fields=(
        "nodeId name description manufacturerId manufacturerName mac location deviceType model swVersion"
        " fwVersion hwVersion protocolType bridgeId status statusDetail mute supportedSecurity isSecurity"
        " signalStrength sigVersion serialNumber batteryLevel"
    ),
):
    """What is known of a device."""


class DeviceInfo(DeviceInfoDTO):
    """What is known of a device, in an answer or a push message."""


class RegDirectDeviceInDTO(
    Dto,
    fields=(
        "nodeId verifyCode endUserId imsi psk timeout isSecure productId deviceInfo account customFields"
        " deviceInfo2 deviceName groupId location tags"
    ),
):
    """A device to register."""


class RegDirectDeviceOutDTO(Dto, fields="deviceId verifyCode timeout psk"):
    """The device that was registered."""


class RefreshDeviceKeyInDTO(Dto, fields="deviceId verifyCode nodeId timeout"):
    """Which device gets another key."""


class RefreshDeviceKeyOutDTO(Dto, fields="verifyCode timeout"):
    """The key that a device got."""


class QueryDeviceStatusOutDTO(Dto, fields="deviceId activated name"):
    """Whether a device was heard."""


class ModifyDeviceInfoInDTO(
    Dto,
    fields=(
        "deviceId customFields deviceConfig deviceType endUser imsi ip isSecure location manufacturerId"
        " manufacturerName model mute name organization protocolType psk region tags timezone"
    ),
):
    """What to change of a device."""


class QueryBatchDevicesInfoInDTO(
    Dto,
    fields=(
        "appId gatewayId nodeType deviceType protocolType pageNo pageSize status startTime endTime sort"
        " select"
    ),
):
    """Which devices to list."""


class QuerySingleDeviceInfoOutDTO(
    Dto, fields="deviceId gatewayId nodeType createTime lastModifiedTime deviceInfo services"
):
    """A device."""


class QueryBatchDevicesInfoOutDTO(Dto, fields="totalCount pageNo pageSize devices"):
    """A page of devices."""


class CreateDeviceGroupInDTO(Dto, fields="name description appId maxDevNum deviceIds id"):
    """A device group to make."""


class CreateDeviceGroupOutDTO(Dto, fields="name description id appId maxDevNum curDevNum creator"):
    """The device group that was made."""


class ModifyDeviceGroupInDTO(Dto, fields="name description maxDevNum"):
    """What to change of a device group."""


class ModifyDeviceGroupOutDTO(Dto, fields="name description id appId maxDevNum curDevNum creator"):
    """The device group as it is now."""


class QueryDeviceGroupsInDTO(Dto, fields="accessAppId pageNo pageSize name"):
    """Which device groups to list."""


class QueryDeviceGroupsOutDTO(Dto, fields="totalCount pageNo pageSize list"):
    """A page of device groups."""


class QuerySingleDeviceGroupOutDTO(Dto, fields="name description id appId maxDevNum curDevNum creator"):
    """A device group."""


class QueryDeviceGroupMembersInDTO(Dto, fields="devGroupId accessAppId pageNo pageSize"):
    """Of which device group to list the devices."""


class QueryDeviceGroupMembersOutDTO(Dto, fields="totalCount pageNo pageSize deviceIds"):
    """A page of the devices of a group."""


class DeviceGroupWithDeviceListDTO(Dto, fields="devGroupId deviceIds accessAppId"):
    """A device group and devices for it."""


class NotifySwUpgradeStateChangedDTO(
    Dto, fields="notifyType deviceId appId operationId subOperationId swUpgradeState"
):
    """A push message: see ``handleSwUpgradeStateChanged``."""


class NotifySwUpgradeResultDTO(
    Dto,
    fields=(
        "notifyType deviceId appId operationId subOperationId curVersion targetVersion sourceVersion"
        " swUpgradeResult upgradeTime resultDesc errorCode description"
    ),
):
    """A push message: see ``handleSwUpgradeResult``."""


class NotifyFwUpgradeStateChangedDTO(
    Dto, fields="notifyType deviceId appId operationId subOperationId step stepDesc"
):
    """A push message: see ``handleFwUpgradeStateChanged``."""


class NotifyFwUpgradeResultDTO(
    Dto,
    fields=(
        "notifyType deviceId appId operationId subOperationId curVersion targetVersion sourceVersion"
        " Status statusDesc upgradeTime"
    ),
):
    """A push message: see ``handleFwUpgradeResult``. ``Status`` has a capital here, not on the wire."""


class NotifyDeviceAddedDTO(Dto, fields="notifyType deviceId gatewayId nodeType deviceInfo"):
    """A push message: see ``handleDeviceAdded``."""


class NotifyDeviceInfoChangedDTO(Dto, fields="notifyType deviceId gatewayId deviceInfo"):
    """A push message: see ``handleDeviceInfoChanged``."""


class NotifyDeviceDeletedDTO(Dto, fields="notifyType deviceId gatewayId"):
    """A push message: see ``handleDeviceDeleted``."""
