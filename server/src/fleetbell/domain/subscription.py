"""Who wants to hear what, and where."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from fleetbell.errors import CallbackUrlInvalid

URL_LENGTH_MOST = 1024


@dataclass(frozen=True, slots=True)
class CallbackUrl:
    """Where an application takes its push messages: HTTPS, with the port spelled out.

    Plain HTTP is for commissioning, so a setting has to ask for it.

    Source: "Subscribing to Device Management Data", parameter ``callbackurl``; the path rule is the FAQ's
    (northbound contract, 9.4).
    """

    text: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str, *, allow_http: bool = False) -> CallbackUrl:
        """Read the URL an application sent.

        Raises:
            CallbackUrlInvalid: another scheme, no host, no port, no path, credentials or a fragment in it,
            too long, or plain HTTP unasked.

        >>> CallbackUrl.parse("https://203.0.113.7:443/callbackurltest").port
        443
        """
        if len(text) > URL_LENGTH_MOST:
            raise CallbackUrlInvalid(f"the callback URL is longer than {URL_LENGTH_MOST} characters")
        if not text.isascii() or not text.isprintable() or " " in text:
            raise CallbackUrlInvalid("the callback URL has a blank, a control or a non-ASCII character in it")
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise CallbackUrlInvalid(f"the callback URL cannot be read: {error}") from error
        if parts.scheme == "http" and not allow_http:
            raise CallbackUrlInvalid(
                "the callback URL must be https; plain http is for commissioning and the setting "
                "callbacks.allow_http opens it"
            )
        if parts.scheme not in ("https", "http"):
            raise CallbackUrlInvalid(f"the callback URL must be https, not {parts.scheme!r}")
        if parts.username is not None or parts.password is not None:
            raise CallbackUrlInvalid("the callback URL must not carry a user name or password")
        if not parts.hostname:
            raise CallbackUrlInvalid("the callback URL names no host")
        if not port:
            raise CallbackUrlInvalid("the callback URL needs its port, such as :443")
        if not parts.path:
            raise CallbackUrlInvalid("the callback URL needs a path, such as /v1.0.0/messageReceiver")
        if "#" in text:  # it is never sent, so that two endpoints would be one and the same
            raise CallbackUrlInvalid(
                "the callback URL must not have a fragment; leave out what begins with #"
            )
        return cls(text, parts.hostname, port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """One application wants one type of notification at one URL. The three together are unique."""

    subscription_id: str
    application_id: str
    notify_type: str
    callback_url: str
    created_at_ms: int
    coalesce: bool = False  # after an outage only the newest state of a sub task is sent
