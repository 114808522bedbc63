# mypy: disable-error-code="no-untyped-def,no-untyped-call"
"""An application written to the documents of the original Python SDK. Only its imports are new.

It takes push messages, subscribes to the four upgrade types, creates a software task, and waits for the
results. Settings come from ``resources/application.ini``::

    [CLIENT_INFO]
    platformIp = 127.0.0.1
    platformPort = 8743
    appId = app-0001
    secret = ...

Run it with the address where the platform reaches it, its certificate and key, a package and devices::

    python legacy_application.py 203.0.113.7 8443 server.pem server.key FILE_ID DEVICE_ID...
"""

import json
import sys
import threading

from fleetbell_sdk.legacy import (
    Authentication,
    AuthOutDTO,
    Constant,
    CreateUpgradeTaskInDTO,
    DeviceUpgrade,
    OperateDevices,
    PushMessageReceiver,
    QueryUpgradeSubTaskInDTO,
    SubDeviceManagementDataInDTO,
    SubscriptionManagement,
    request,
)

NOTIFY_TYPES = [
    "swUpgradeStateChangeNotify",
    "swUpgradeResultNotify",
    "fwUpgradeStateChangeNotify",
    "fwUpgradeResultNotify",
]


class UpgradeReceiver(PushMessageReceiver):
    """Prints every message, and knows which devices are done."""

    def __init__(self, deviceIds):
        self.waiting = set(deviceIds)
        self.finished = threading.Event()

    def handleSwUpgradeStateChanged(self):
        print("state", request.json["deviceId"], request.json["swUpgradeState"], flush=True)

    def handleSwUpgradeResult(self):
        message = request.json
        print("result", message["deviceId"], message["swUpgradeResult"], message["curVersion"], flush=True)
        self.waiting.discard(message["deviceId"])
        if not self.waiting:
            self.finished.set()

    def handleFwUpgradeStateChanged(self):
        print("state", request.json["deviceId"], request.json["stepDesc"], flush=True)

    def handleFwUpgradeResult(self):
        print("result", request.json["deviceId"], request.json["status"], flush=True)


def login():
    authOutDTO = AuthOutDTO()
    result = Authentication().getAuthToken(Constant().clientInfo())
    authOutDTO.setAccessToken(json.loads(result)["accessToken"])
    return authOutDTO.getAccessToken()


def subscribe(callbackUrl, accessToken):
    subscriptionManagement = SubscriptionManagement()
    for notifyType in NOTIFY_TYPES:
        sdmdInDTO = SubDeviceManagementDataInDTO()
        sdmdInDTO.notifyType = notifyType
        sdmdInDTO.callbackurl = callbackUrl
        answer = subscriptionManagement.subDeviceManagementData(sdmdInDTO, accessToken)
        if answer:
            sys.exit(answer)


def upgrade(fileId, deviceIds, accessToken):
    targets = OperateDevices()
    targets.devices = deviceIds
    cutInDTO = CreateUpgradeTaskInDTO()
    cutInDTO.fileId = fileId
    cutInDTO.targets = targets
    answer = json.loads(DeviceUpgrade().createSoftwareUpgradeTask(cutInDTO, accessToken))
    if "operationId" not in answer:
        sys.exit(answer["error_desc"])
    return answer["operationId"]


def main(host, port, certfile, keyfile, fileId, *deviceIds):
    receiver = UpgradeReceiver(deviceIds)
    with receiver.serve(host, int(port), certfile, keyfile) as server:
        accessToken = login()
        subscribe(f"https://{host}:{server.port}/v1.0.0/messageReceiver", accessToken)
        operationId = upgrade(fileId, list(deviceIds), accessToken)
        print("task", operationId, flush=True)
        receiver.finished.wait()

    qustInDTO = QueryUpgradeSubTaskInDTO()
    qustInDTO.pageNo = "0"
    qustInDTO.pageSize = "100"
    page = json.loads(DeviceUpgrade().queryUpgradeSubTask(qustInDTO, operationId, accessToken))
    for subTask in page["data"]:
        print("sub task", subTask["deviceId"], subTask["status"], flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
