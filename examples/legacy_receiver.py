# mypy: ignore-errors
"""A receiver as the documents of the original Python SDK show it: inherit, override, run Flask's application.

Only its imports are new: ``com.huawei.iotplatform`` has become ``fleetbell_sdk.legacy``. Run it with where it
listens, its certificate and key::

    python legacy_receiver.py 0.0.0.0 8443 server.pem server.key
"""

import sys

from flask import request
from fleetbell_sdk.legacy.client.dto.NotifyFwUpgradeResultDTO import NotifyFwUpgradeResultDTO
from fleetbell_sdk.legacy.client.dto.NotifySwUpgradeResultDTO import NotifySwUpgradeResultDTO
from fleetbell_sdk.legacy.client.invokeapi.PushMessageReceiver import PushMessageReceiver, app


class MyReceiver(PushMessageReceiver):
    """Prints every message."""

    def handleSwUpgradeStateChanged(self):
        print("state", request.json["deviceId"], request.json["swUpgradeState"], flush=True)

    def handleSwUpgradeResult(self):
        nsurDTO = NotifySwUpgradeResultDTO()
        nsurDTO.setDeviceId(request.json["deviceId"])
        nsurDTO.setSwUpgradeResult(request.json["swUpgradeResult"])
        nsurDTO.setCurVersion(request.json["curVersion"])
        print(
            "result", nsurDTO.getDeviceId(), nsurDTO.getSwUpgradeResult(), nsurDTO.getCurVersion(), flush=True
        )

    def handleFwUpgradeStateChanged(self):
        print("state", request.json["deviceId"], request.json["stepDesc"], flush=True)

    def handleFwUpgradeResult(self):
        nfurDTO = NotifyFwUpgradeResultDTO()
        nfurDTO.deviceId = request.json["deviceId"]
        nfurDTO.Status = request.json["status"]
        print("result", nfurDTO.deviceId, nfurDTO.Status, flush=True)


if __name__ == "__main__":
    host, port, certfile, keyfile = sys.argv[1:]
    app.run(host=host, port=int(port), ssl_context=(certfile, keyfile))
