"""What the log makes of the words of strangers."""

from fleetbell.assembly.serving import readable


def test_control_characters_in_the_log_are_written_as_escapes() -> None:
    event = {"event": "a call failed", "path": "/\x1b[2J\x9b\u202e", "exception": "a\n\tb\x07", "number": 1}

    assert readable(None, "error", event) == {
        "event": "a call failed",
        "path": "/\\x1b[2J\\x9b\\u202e",
        "exception": "a\n\tb\\x07",
        "number": 1,
    }
