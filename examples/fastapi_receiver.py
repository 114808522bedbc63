"""Take push messages inside a FastAPI application.

FLEETBELL_SECRET=whsec_... uvicorn fastapi_receiver:app --ssl-certfile server.pem --ssl-keyfile server.key
"""

import os

from fastapi import FastAPI

from fleetbell_sdk import AsyncReceiver, SoftwareResult
from fleetbell_sdk.frameworks.starlette import route

receiver = AsyncReceiver(secrets=os.environ["FLEETBELL_SECRET"].split())


@receiver.on(SoftwareResult)
async def finished(message: SoftwareResult) -> None:
    """Runs when a device's software upgrade is done."""
    print("result", message.device_id, message.result, message.cur_version, flush=True)


app = FastAPI()
app.router.routes.append(route(receiver, "/v1.0.0/messageReceiver"))
