"""The names and call shapes of the original Python SDK, on a Fleetbell platform.

An application written to its documents changes its imports and nothing else: take what it imported from
here. Calls return the text of the answer and do not raise for HTTP errors; DTOs have attributes and
``getX``/``setX``; ``PushMessageReceiver`` is inherited, and its handlers read ``request.json``.

New code is better off with :class:`fleetbell_sdk.Client` and :class:`fleetbell_sdk.Receiver`.
"""

from __future__ import annotations

from fleetbell_sdk.legacy.calls import (
    Authentication,
    DataCollection,
    DeviceManagement,
    DeviceUpgrade,
    SubscriptionManagement,
)
from fleetbell_sdk.legacy.dto import (
    AuthOutDTO,
    AuthRefreshInDTO,
    AuthRefreshOutDTO,
    CreateUpgradeTaskInDTO,
    CreateUpgradeTaskOutDTO,
    DeleteBatchSubInDTO,
    DeviceInfoDTO,
    ModifyDeviceInfoInDTO,
    NotifyFwUpgradeResultDTO,
    NotifyFwUpgradeStateChangedDTO,
    NotifySwUpgradeResultDTO,
    NotifySwUpgradeStateChangedDTO,
    OperateDevices,
    OperatePolicy,
    OperationInfo,
    OperationStaResult,
    QueryBatchDevicesInfoInDTO,
    QueryBatchSubInDTO,
    QueryBatchSubOutDTO,
    QueryUpgradePackageListInDTO,
    QueryUpgradePackageListOutDTO,
    QueryUpgradePackageOutDTO,
    QueryUpgradeSubTaskInDTO,
    QueryUpgradeSubTaskOutDTO,
    QueryUpgradeTaskListInDTO,
    QueryUpgradeTaskListOutDTO,
    QueryUpgradeTaskOutDTO,
    RegDirectDeviceInDTO,
    RegDirectDeviceOutDTO,
    SubDeviceBusinessDataInDTO,
    SubDeviceManagementDataInDTO,
    SubOperationInfo,
    SubscriptionDTO,
)
from fleetbell_sdk.legacy.platform import Constant, configure
from fleetbell_sdk.legacy.push import PushMessageReceiver, request

__all__ = [
    "AuthOutDTO",
    "AuthRefreshInDTO",
    "AuthRefreshOutDTO",
    "Authentication",
    "Constant",
    "CreateUpgradeTaskInDTO",
    "CreateUpgradeTaskOutDTO",
    "DataCollection",
    "DeleteBatchSubInDTO",
    "DeviceInfoDTO",
    "DeviceManagement",
    "DeviceUpgrade",
    "ModifyDeviceInfoInDTO",
    "NotifyFwUpgradeResultDTO",
    "NotifyFwUpgradeStateChangedDTO",
    "NotifySwUpgradeResultDTO",
    "NotifySwUpgradeStateChangedDTO",
    "OperateDevices",
    "OperatePolicy",
    "OperationInfo",
    "OperationStaResult",
    "PushMessageReceiver",
    "QueryBatchDevicesInfoInDTO",
    "QueryBatchSubInDTO",
    "QueryBatchSubOutDTO",
    "QueryUpgradePackageListInDTO",
    "QueryUpgradePackageListOutDTO",
    "QueryUpgradePackageOutDTO",
    "QueryUpgradeSubTaskInDTO",
    "QueryUpgradeSubTaskOutDTO",
    "QueryUpgradeTaskListInDTO",
    "QueryUpgradeTaskListOutDTO",
    "QueryUpgradeTaskOutDTO",
    "RegDirectDeviceInDTO",
    "RegDirectDeviceOutDTO",
    "SubDeviceBusinessDataInDTO",
    "SubDeviceManagementDataInDTO",
    "SubOperationInfo",
    "SubscriptionDTO",
    "SubscriptionManagement",
    "configure",
    "request",
]
