"""The documents hold together: links lead somewhere, lists are complete and in order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.repository.tree import ROOT, files, named

FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
HEADING = re.compile(r"^#+ +(.+?) *#*$", re.MULTILINE)
PAGES = list(files("*.md"))
DECISIONS = list(files("docs/decisions/[0-9]*.md"))


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings make: lower case, without punctuation, joined by hyphens."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(prose(page))
    }


def links(page: Path) -> list[str]:
    return [link for link in LINK.findall(prose(page)) if not re.match(r"[a-z]+:", link)]


def leads_somewhere(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    return target.exists() and (not anchor or anchor in anchors(target))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_relative_link_leads_somewhere(page: Path):
    assert [link for link in links(page) if not leads_somewhere(page, link)] == []


def test_a_link_to_nowhere_is_found():
    assert not leads_somewhere(ROOT / "README.md", "docs/no-such-page.md")
    assert not leads_somewhere(ROOT / "README.md", "CONTRIBUTING.md#no-such-heading")
    assert leads_somewhere(ROOT / "README.md", "CONTRIBUTING.md#setting-up")


def test_every_page_of_the_documents_is_on_their_map():
    reachable = {
        (ROOT / "docs" / link.partition("#")[0]).resolve() for link in links(ROOT / "docs/README.md")
    }

    missing = [named(page) for page in files("docs/*.md") if page not in reachable and page not in DECISIONS]
    assert missing == ["docs/README.md"]


def test_every_decision_is_in_the_index_under_its_title_and_in_order():
    index = (ROOT / "docs/decisions/README.md").read_text()
    titles = [page.read_text().splitlines()[0].removeprefix("# ") for page in DECISIONS]

    assert re.findall(r"^\| \[(\d{4})\]\(([^)]+)\) \| (.+) \|$", index, re.MULTILINE) == [
        (number, page.name, title)
        for page, (number, _, title) in zip(
            DECISIONS, (title.partition(": ") for title in titles), strict=True
        )
    ]


def test_no_two_decisions_have_the_same_number():
    numbers = [page.name[:4] for page in DECISIONS]

    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("page", DECISIONS, ids=named)
def test_a_decision_says_what_was_chosen_what_was_not_and_what_would_change_our_mind(page: Path):
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", page.name)
    assert page.read_text().startswith(f"# {page.name[:4]}: ")
    assert re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE) == [
        "Situation",
        "Choice",
        "What we did not choose",
        "What would change our mind",
    ]


def test_the_glossary_is_sorted_and_has_each_word_once():
    lines = [line for line in (ROOT / "docs/glossary.md").read_text().splitlines() if line.startswith("-")]
    terms = [match[1] for line in lines if (match := re.fullmatch(r"- \*\*(.+?)\*\*: .+\.", line))]

    assert len(terms) == len(lines) > 40
    assert terms == sorted(set(terms), key=str.casefold)


@pytest.mark.parametrize(
    "fragment", [path for path in files("changelog.d") if path.name != "README.md"], ids=named
)
def test_a_changelog_fragment_is_one_paragraph_of_a_known_kind(fragment: Path):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*\.(added|changed|fixed|removed|security)\.md", fragment.name)
    text = fragment.read_text()
    assert text == text.strip() + "\n"
    assert "\n\n" not in text
    assert not text.startswith(("#", "-", "*"))
    assert text.endswith(".\n")
