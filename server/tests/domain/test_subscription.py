"""Which callback URLs are taken."""

import pytest

from fleetbell.domain.subscription import URL_LENGTH_MOST, CallbackUrl
from fleetbell.errors import CallbackUrlInvalid


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("https://203.0.113.7:443/callbackurltest", "203.0.113.7", 443),
        ("https://Receiver.Example:8443/v1.0.0/messageReceiver", "receiver.example", 8443),
        ("https://[2001:db8::1]:8743/", "2001:db8::1", 8743),
        ("https://receiver.example:65535/a?b=c&d=%20", "receiver.example", 65535),
        ("HTTPS://receiver.example:1/a", "receiver.example", 1),
    ],
)
def test_a_good_url_is_kept_letter_for_letter_and_taken_apart(text: str, host: str, port: int) -> None:
    url = CallbackUrl.parse(text)

    assert (url.text, url.host, url.port) == (text, host, port)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http://receiver.example:80/a", "callbacks.allow_http"),
        ("ftp://receiver.example:21/a", "must be https, not 'ftp'"),
        ("receiver.example:443/a", "must be https"),
        ("//receiver.example:443/a", "must be https, not ''"),
        ("", "must be https"),
        ("https://receiver.example/a", "needs its port, such as :443"),
        ("https://receiver.example:/a", "needs its port"),
        ("https://receiver.example:0/a", "needs its port"),
        ("https://receiver.example:443", "needs a path, such as /v1.0.0/messageReceiver"),
        ("https://receiver.example:443?a=b", "needs a path"),
        ("https://:443/a", "names no host"),
        ("https://user@receiver.example:443/a", "user name or password"),
        ("https://user:secret@receiver.example:443/a", "user name or password"),
        ("https://:secret@receiver.example:443/a", "user name or password"),
        ("https://receiver.example:99999/a", "cannot be read"),
        ("https://receiver.example:https/a", "cannot be read"),
        ("https://[2001:db8::1:443/a", "cannot be read"),
        ("https://receiver.example:443/a#b", "must not have a fragment"),
        ("https://receiver.example:443/a#", "must not have a fragment"),
        ("https://receiver.example:443/a b", "a blank"),
        ("https://receiver.example:443/a\r\nHost: other", "a control"),
        ("https://receiver.example:443/a\x00", "a control"),
        ("https://empfänger.example:443/a", "a non-ASCII character"),
        ("https://receiver.example:443/" + "a" * URL_LENGTH_MOST, "longer than 1024 characters"),
    ],
)
def test_a_bad_url_is_refused_with_what_is_wrong_and_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(CallbackUrlInvalid) as refusal:
        CallbackUrl.parse(text)

    assert said in str(refusal.value)


def test_plain_http_is_taken_only_where_the_setting_opens_it() -> None:
    assert CallbackUrl.parse("http://127.0.0.1:8080/a", allow_http=True).port == 8080
    with pytest.raises(CallbackUrlInvalid, match="must be https, not 'ftp'"):
        CallbackUrl.parse("ftp://127.0.0.1:8080/a", allow_http=True)


def test_the_longest_url_is_taken() -> None:
    text = "https://receiver.example:443/".ljust(URL_LENGTH_MOST, "a")

    assert CallbackUrl.parse(text).text == text
