"""The log: one event a line on standard error, for people or as JSON, whoever in this process says it."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog

from fleetbell.config import Logging

# What the HTTP server would log. A download that is cut: the device door says so itself, in better words.
# What is no HTTP, or wants another protocol, is refused: a line for each would let strangers fill the log.
_NOT_LOGGED: Final = (
    "without completing response",
    "Invalid HTTP request received",
    "Unsupported upgrade request",
    "No supported WebSocket library",
)


class Lines:
    """Where lines of the log go: one that cannot be written is lost, and whoever had it to say goes on.

    The log may lie on the disk that is full, or its reader may be gone.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._file.flush()


def readable(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Write control characters as escapes: a client's words must not move the cursor of who reads the log."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = "".join(
                sign if sign.isprintable() or sign in "\n\t" else sign.encode("unicode_escape").decode()
                for sign in value
            )
    return event


def configure(wanted: Logging) -> None:
    """Our events, and from warnings on what the libraries and Python itself have to say, in one form."""
    level = getattr(logging, wanted.level.upper())
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if wanted.json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    common: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        readable,
    ]
    lines: Any = Lines(sys.stderr)
    structlog.configure(
        processors=[*common, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(lines),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*common[:-2], _named],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                readable,
                renderer,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    logging.captureWarnings(True)
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: not any(words in record.getMessage() for words in _NOT_LOGGED)
    )


def _named(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """With the name of the library's logger: its events are not on our page."""
    event["library"] = event["_record"].name
    return event
