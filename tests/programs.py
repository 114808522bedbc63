"""Programs that tests need and Python packages cannot bring."""

from __future__ import annotations

import os
import shutil

import pytest


def require(program: str, *, package: str, folders: str = "") -> str:
    """The path of ``program``; without it the test is skipped with a sentence, and fails in CI.

    ``folders`` are looked through after the search path.
    """
    path = shutil.which(program) or (shutil.which(program, path=folders) if folders else None)
    if path is None:
        sentence = f"{program} is not installed; on Debian: apt-get install {package}"
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    return path
