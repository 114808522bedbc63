"""What the log makes of the words of strangers, of libraries and of Python itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fleetbell.assembly.log import readable

SPEAKERS = """
import logging, sys, warnings
import structlog
from fleetbell.assembly.log import configure
from fleetbell.config import Logging

configure(Logging(json=sys.argv[1] == "json"))
log = structlog.get_logger()
log.info("our own", device_id="dev-1")
log.debug("too quiet")
try:
    raise ValueError("two\\nlines")
except ValueError:
    log.exception("our fault")
    logging.getLogger("some.library").exception("their fault: %s", "x\\x1b[2J")
logging.getLogger("some.library").info("too quiet")
warnings.warn("out of fashion")
"""


def test_control_characters_in_the_log_are_written_as_escapes() -> None:
    event = {"event": "a call failed", "path": "/\x1b[2J\x9b\u202e", "exception": "a\n\tb\x07", "number": 1}

    assert readable(None, "error", event) == {
        "event": "a call failed",
        "path": "/\\x1b[2J\\x9b\\u202e",
        "exception": "a\n\tb\\x07",
        "number": 1,
    }


def said(form: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", SPEAKERS, form], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_as_json_every_line_is_one_object_whoever_speaks() -> None:
    own, fault, theirs, warning = map(json.loads, said("json"))

    assert (own["event"], own["level"], own["device_id"]) == ("our own", "info", "dev-1")
    assert (fault["event"], fault["level"]) == ("our fault", "error")
    assert "ValueError: two\nlines" in fault["exception"]
    assert theirs["event"] == "their fault: x\\x1b[2J"
    assert (theirs["library"], theirs["level"]) == ("some.library", "error")
    assert "ValueError: two\nlines" in theirs["exception"]
    assert (warning["library"], warning["level"]) == ("py.warnings", "warning")
    assert "out of fashion" in warning["event"]
    assert all("timestamp" in line for line in (own, fault, theirs, warning))


@pytest.mark.parametrize("words", ["our own", "our fault", "their fault", "out of fashion"])
def test_as_text_each_event_begins_a_line(words: str) -> None:
    assert len([line for line in said("text") if words in line and "[" in line]) == 1


ON_A_FULL_DISK = """
import structlog
from fleetbell.assembly.log import configure
from fleetbell.config import Logging

configure(Logging())
for _ in range(1000):
    structlog.get_logger().error("the database cannot be written", error="the disk is full")
print("went on")
"""


def test_a_log_that_cannot_be_written_stops_nobody() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", ON_A_FULL_DISK], stdout=subprocess.PIPE, stderr=full, check=False
        )

    assert done.stdout == b"went on\n"
