"""No tracked file says where packages come from, or on which machine it was written."""

from __future__ import annotations

import re

import pytest

from tests.repository.tree import files, named

# In pieces, so that this file does not match itself.
INDEX_HOSTS = [
    ("py", "pi.org"), ("python", "hosted.org"), ("npm", "js.org"), ("npm", "js.com"), ("yarn", "pkg.com"),
    ("crates", ".io"), ("ruby", "gems.org"), ("ana", "conda.org"), ("ana", "conda.com"), ("gh", "cr.io"),
    ("docker", ".io"), ("jf", "rog.io"), ("maven", ".org"), ("go", "lang.org"),
]  # fmt: skip
INDEX = re.compile(
    "|".join(
        [
            *(re.escape(first + last) for first, last in INDEX_HOSTS),
            r"(?:index|registry|find-links)[-_a-z]*[\"']?[ \t]*[=:][ \t]*[\"']?" + r"https?:/" + "/",
            r"--(?:extra-)?" + r"index-url[ =]\S",
            r"https?:/" + r"/[^\s\"'<>)]*/simp" + r"le\b",
        ]
    ),
    re.IGNORECASE,
)
MACHINE = re.compile(r"(?<![\w.$}~-])/(?:" + "|".join(["work", "farm", "root"]) + r")/|/tmp/" + "brief")


def matches(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in files():
        for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").splitlines(), 1):
            if hit := pattern.search(line):
                found.append(f"{named(path)}:{number}: {hit[0]}")
    return found


def test_no_tracked_file_carries_the_address_of_a_package_index():
    assert matches(INDEX) == []


def test_no_tracked_file_carries_a_path_of_the_machine_it_was_written_on():
    assert matches(MACHINE) == []


@pytest.mark.parametrize(
    "text",
    [
        "https://files.python" + "hosted.org/packages/a.whl",
        "index-url = " + "https://mirror.example/x",
        "registry=" + "https://mirror.example/",
        "see https://mirror.example/api/" + "simple/",
        "--index-url" + " $MIRROR",
    ],
)
def test_an_address_of_a_package_index_is_recognised(text: str):
    assert INDEX.search(text)


@pytest.mark.parametrize("text", ["cd /wo" + "rk/main", '"/ro' + 'ot/.cache"', "(/tm" + "p/brief/x)"])
def test_a_path_of_a_machine_is_recognised(text: str):
    assert MACHINE.search(text)


@pytest.mark.parametrize("text", ["docs/work/one.md", "--no-emit-index-url", "$HOME/work/x", "/workers/1"])
def test_ordinary_words_are_left_alone(text: str):
    assert not INDEX.search(text)
    assert not MACHINE.search(text)
