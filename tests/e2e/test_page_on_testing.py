"""The page on testing a receiver: its programs are saved as it says and its tests pass, each of them."""

from __future__ import annotations

import pytest

from tests.e2e.pages import ROOT, blocks

pytest_plugins = ["pytester"]

PAGE = ROOT / "docs" / "how-to" / "test-your-receiver.md"


def test_the_tests_of_the_page_on_testing_pass(pytester: pytest.Pytester) -> None:
    programs = [block for block in blocks(PAGE) if block.language == "python"]
    for block in programs:
        assert block.file_name is not None, f"the page does not say what to save this as:\n{block.text}"
        (pytester.path / block.file_name).write_text(block.text)

    ran = pytester.runpytest_subprocess("-W", "error", "-p", "no:asyncio")

    outcomes = ran.parseoutcomes()
    assert set(outcomes) == {"passed"}
    assert outcomes["passed"] > 90
