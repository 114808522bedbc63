"""The same receiver inside every framework, for the servers that the tests start: ``served:in_flask``."""

import os

import django
import fastapi
import flask
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.urls import path
from starlette.applications import Starlette

from fleetbell_sdk import AsyncReceiver, Receiver, SoftwareResult, SoftwareStateChanged
from fleetbell_sdk.frameworks import asgi, starlette, wsgi
from fleetbell_sdk.frameworks import django as django_adapter
from fleetbell_sdk.frameworks import flask as flask_adapter

receiver = Receiver(os.environ["FLEETBELL_SECRET"])
async_receiver = AsyncReceiver(os.environ["FLEETBELL_SECRET"])


@receiver.on(SoftwareResult)
def finished(message: SoftwareResult) -> None:
    print("took", message.device_id, flush=True)


@receiver.on(SoftwareStateChanged)
def broken(_message: SoftwareStateChanged) -> None:
    raise RuntimeError("the password is swordfish")


@async_receiver.on(SoftwareResult)
async def finished_too(message: SoftwareResult) -> None:
    print("took", message.device_id, flush=True)


@async_receiver.on(SoftwareStateChanged)
async def broken_too(_message: SoftwareStateChanged) -> None:
    raise RuntimeError("the password is swordfish")


settings.configure(
    ALLOWED_HOSTS=["*"],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for-tests",
)
django.setup(set_prefix=False)
urlpatterns = [
    path("v1.0.0/messageReceiver", django_adapter.view(receiver)),
    path("async/messageReceiver", django_adapter.view(async_receiver)),
]
in_django = get_wsgi_application()
in_django_asynchronously = get_asgi_application()

in_flask = flask.Flask("application")
in_flask.register_blueprint(flask_adapter.blueprint(receiver))

in_starlette = Starlette(routes=[starlette.route(async_receiver)])
in_fastapi = fastapi.FastAPI()
in_fastapi.router.routes.append(starlette.route(receiver))

as_wsgi = wsgi.wsgi_application(receiver, "/v1.0.0/messageReceiver")
as_asgi = asgi.asgi_application(async_receiver, "/v1.0.0/messageReceiver")
