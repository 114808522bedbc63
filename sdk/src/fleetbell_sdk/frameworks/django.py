"""A receiver inside a Django project.

In ``urls.py``: ``urlpatterns = [path("push", view(receiver))]``. The view is exempt from the check of CSRF
tokens, for the platform has none; its signature says who calls.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, overload

from fleetbell_sdk.frameworks import wsgi
from fleetbell_sdk.frameworks._request import BROKEN_OFF, NOT_POSTED, length_of
from fleetbell_sdk.receiver import AsyncReceiver, Receiver
from fleetbell_sdk.reply import Reply

try:
    from django.core.exceptions import RequestDataTooBig
    from django.core.handlers.wsgi import WSGIRequest
    from django.http import HttpRequest, HttpResponse, UnreadablePostError
    from django.views.decorators.csrf import csrf_exempt
except ImportError as error:
    raise ImportError("this module needs Django: install the package named django") from error

__all__ = ["view"]

View = Callable[[HttpRequest], HttpResponse]
AsyncView = Callable[[HttpRequest], Coroutine[Any, Any, HttpResponse]]


@overload
def view(receiver: Receiver) -> View: ...
@overload
def view(receiver: AsyncReceiver) -> AsyncView: ...
def view(receiver: Receiver | AsyncReceiver) -> View | AsyncView:
    """A view that hands each push message to ``receiver``: an asynchronous one for an ``AsyncReceiver``."""
    if isinstance(receiver, AsyncReceiver):
        return _asynchronous(receiver)
    return _blocking(receiver)


def _blocking(receiver: Receiver) -> View:
    @csrf_exempt
    def push(request: HttpRequest) -> HttpResponse:
        body = _body(request, receiver.body_limit_bytes)
        return _response(body if isinstance(body, Reply) else receiver.receive(body, request.headers))

    return push


def _asynchronous(receiver: AsyncReceiver) -> AsyncView:
    @csrf_exempt
    async def push(request: HttpRequest) -> HttpResponse:
        body = _body(request, receiver.body_limit_bytes)
        return _response(body if isinstance(body, Reply) else await receiver.receive(body, request.headers))

    return push


def _body(request: HttpRequest, limit_bytes: int) -> bytes | Reply:
    """The body, or the answer that the request gets instead."""
    if request.method != "POST":
        return NOT_POSTED
    length = request.META.get("CONTENT_LENGTH")
    if not length and isinstance(request, WSGIRequest):  # Django takes such a body for an empty one
        return wsgi.read_body(request.environ, limit_bytes=limit_bytes)
    announced = length_of(length, limit_bytes=limit_bytes) if length else None
    if isinstance(announced, Reply):
        return announced
    try:
        body = request.body
    except RequestDataTooBig:  # of Django's own limit, for a body that came in chunks
        return Reply.text(413, f"a push message has at most {limit_bytes} bytes")
    except UnreadablePostError:
        return BROKEN_OFF
    return body if announced in {None, len(body)} else BROKEN_OFF


def _response(reply: Reply) -> HttpResponse:
    return HttpResponse(reply.body, status=reply.status, headers=dict(reply.headers))
