"""The message that raw posting and the others send: as large as a real one, signed in the same way."""

from __future__ import annotations

from fleetbell_sdk import signature

BODY = (
    b'{"notifyType":"fwUpgradeStateChangeNotify","deviceId":"5b6ce2d8-7a4e-4f1d-9e0a-2f3f7f2f0c11",'
    b'"appId":"bench","operationId":"operation-1","subOperationId":"sub-1","step":"1","stepDesc":"downloading"}'
)
SECRET = signature.Secret(b"benchmarks-sign-with-this")
SIGN = signature.signer([SECRET])
