"""Take push messages inside a Flask application.

FLEETBELL_SECRET=whsec_... flask --app flask_receiver run --cert server.pem --key server.key
"""

import os

from flask import Flask

from fleetbell_sdk import Receiver, SoftwareResult
from fleetbell_sdk.frameworks.flask import blueprint

receiver = Receiver(secrets=os.environ["FLEETBELL_SECRET"].split())


@receiver.on(SoftwareResult)
def finished(message: SoftwareResult) -> None:
    """Runs when a device's software upgrade is done."""
    print("result", message.device_id, message.result, message.cur_version, flush=True)


app = Flask(__name__)
app.register_blueprint(blueprint(receiver, "/v1.0.0/messageReceiver"))
