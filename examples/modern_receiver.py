"""Take push messages without a framework, each message once.

    FLEETBELL_SECRET=whsec_... python modern_receiver.py 0.0.0.0 8443 server.pem server.key

The platform repeats a message when an answer is lost, with the same ``webhook_id``. This program keeps the
ids it has seen in memory; one that must not forget them over a restart keeps them beside its data.
"""

import os
import sys

from fleetbell_sdk import Context, FirmwareResult, Receiver, SoftwareResult, SoftwareStateChanged
from fleetbell_sdk.frameworks.standalone import serve

receiver = Receiver(secrets=os.environ["FLEETBELL_SECRET"].split())
seen: set[str | None] = set()


@receiver.on(SoftwareStateChanged)
def changed(message: SoftwareStateChanged) -> None:
    """Runs for each state of each device; the platform waits for it to return."""
    print("state", message.device_id, message.state, flush=True)


@receiver.on(SoftwareResult, FirmwareResult)
def finished(message: SoftwareResult | FirmwareResult, context: Context) -> None:
    """Runs when a device is done. Raise, and the message comes again."""
    if context.webhook_id in seen:
        return
    print("result", message.device_id, message.result, message.cur_version, flush=True)
    seen.add(context.webhook_id)


if __name__ == "__main__":
    host, port, certfile, keyfile = sys.argv[1:]
    with serve(receiver, host, int(port), certfile, keyfile) as server:
        print("listening on", server.port, flush=True)
        server.wait()
