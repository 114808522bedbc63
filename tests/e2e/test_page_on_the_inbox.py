"""The page on the inbox, run as it stands."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.pages import ROOT, run, script

PAGE = ROOT / "docs" / "how-to" / "inbox.md"


def test_the_page_on_the_inbox_handles_a_message_and_its_repeat_once(short_path: Path) -> None:
    said = run(script(PAGE, "inbox-trial"), short_path, {}).splitlines()

    assert said.count("answered 200") == 2
    assert said.count("result dev-a SUCCESS V1.1.0") == 1
    assert "Stock(waiting=0, done=1, failed=0, kept=1, repeats=1)" in said
    assert "in the table: 1" in said
    assert "wait again: 0" in said
