"""A receiver inside a Flask application.

>>> from fleetbell_sdk import Receiver
>>> app = flask.Flask("example")
>>> app.register_blueprint(blueprint(Receiver.unsigned()))
>>> app.test_client().post("/v1.0.0/messageReceiver", data=b"{").status_code
400
"""

from __future__ import annotations

from collections.abc import Callable

from fleetbell_sdk.frameworks import wsgi
from fleetbell_sdk.frameworks._request import length_of, refuse_asynchronous
from fleetbell_sdk.receiver import Receiver
from fleetbell_sdk.reply import Reply

try:
    import flask
except ImportError as error:
    raise ImportError("this module needs Flask: install the package named flask") from error

__all__ = ["DEFAULT_PATH", "blueprint", "view"]

DEFAULT_PATH = "/v1.0.0/messageReceiver"


def view(receiver: Receiver) -> Callable[[], flask.Response]:
    """A Flask view, for POST, that hands each push message to ``receiver``."""
    refuse_asynchronous(receiver, "view")

    def push() -> flask.Response:
        body = _body(receiver.body_limit_bytes)
        reply = body if isinstance(body, Reply) else receiver.receive(body, dict(flask.request.headers))
        return flask.Response(reply.body, reply.status, dict(reply.headers))

    return push


def blueprint(receiver: Receiver, path: str = DEFAULT_PATH, *, name: str = "fleetbell") -> flask.Blueprint:
    """A Flask blueprint that takes push messages at ``path``."""
    made = flask.Blueprint(name, __name__)
    made.add_url_rule(path, "push", view(receiver), methods=["POST"])
    return made


def _body(limit_bytes: int) -> bytes | Reply:
    """The body, or the answer that the request gets instead."""
    length = flask.request.environ.get("CONTENT_LENGTH")
    if not length:
        return wsgi.read_body(flask.request.environ, limit_bytes=limit_bytes)
    announced = length_of(length, limit_bytes=limit_bytes)
    return announced if isinstance(announced, Reply) else flask.request.get_data()
