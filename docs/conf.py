"""How Sphinx makes the site: from the pages as they stand, and from the docstrings of the SDK.

Run by ``scripts/docs``. The pages are written for a code host, so they have no directives: what the site
needs besides is added here, while it is built. Why: docs/decisions/0027.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import posixpath
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sphinx.pycode import ModuleAnalyzer

import fleetbell_sdk as PACKAGE

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT: Final = Path(__file__).parents[1]
MODULE_PAGES: Final = Path("docs/reference/sdk")
ACCESSORS: Final = "fleetbell_sdk.legacy.dto"
OF_PYTHON: Final = "object, str, Enum, ReprEnum, StrEnum"
FOR_ITS_OWN_USE: Final = {"fleetbell_sdk.connection"}

# -- what Sphinx reads ---------------------------------------------------------------------------------

project = "Fleetbell"
release = PACKAGE.__version__
copyright = "the Fleetbell authors, Apache License 2.0"

root_doc = "README"
include_patterns = ["*.md", "docs/**", "sdk/README.md", "changelog.d/README.md"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]

myst_heading_anchors = 6  # links such as page.md#a-heading, as code hosts make them
myst_linkify_fuzzy_links = False

autosummary_generate = False
autodoc_default_options = {
    "members": True,
    "undoc-members": True,
    "exclude-members": "FIELDS",
    "member-order": "bysource",
}
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
maximum_signature_line_length = 100

nitpicky = True
# What Python and other packages define: the site of another project would have to be fetched to link to it.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!fleetbell_sdk\.).*"),
    (r"py:class", r".*\.(T|Handler|Database)"),
    (
        r"py:class",
        r"fleetbell_sdk\.inbox\.(message|opened|port|work)\..*",
    ),  # between a receiver and its inbox
]

html_theme = "furo"
html_title = "Fleetbell"
html_show_sphinx = False
html_copy_source = False


# -- what the site has besides the pages ---------------------------------------------------------------


def setup(app: Sphinx) -> None:
    """Called by Sphinx before it reads anything."""
    app.connect("builder-inited", lambda _: write_module_pages())
    app.connect("source-read", add_navigation)
    app.connect("autodoc-process-docstring", keep_first_sentence, priority=100)
    app.connect("autodoc-skip-member", is_accessor)
    app.connect("build-finished", begin_at_the_front_page)


def begin_at_the_front_page(app: Sphinx, error: Exception | None) -> None:
    """Serve the front page under the name that a web server looks for."""
    front_page = app.outdir / f"{root_doc}.html"
    if error is None and front_page.exists():
        shutil.copyfile(front_page, app.outdir / "index.html")


def keep_first_sentence(_: Sphinx, what: str, *rest: object) -> None:
    """Begin the docstring of an attribute with an empty comment.

    In the first line what stands before a colon would be taken for the attribute's type.
    """
    lines = rest[-1]
    if what in {"attribute", "data", "property"} and isinstance(lines, list):
        lines[:0] = ["..", ""]


def is_accessor(*told: object) -> bool | None:
    """Leave out the ``getX`` and ``setX`` of the older SDK's DTOs: one pair for each of a thousand fields."""
    name, value = str(told[2]), told[3]
    if inspect.isfunction(value) and value.__module__ == ACCESSORS and not value.__doc__:
        return bool(re.match("[gs]et[A-Z]", name)) or None
    return None


def add_navigation(_: Sphinx, page: str, source: list[str]) -> None:
    """Put the pages into a tree, from the lists that the pages themselves have."""
    if page == root_doc:
        source[0] += "".join(tree(caption, pages) for caption, pages in chapters())
    if page == "docs/reference/sdk":
        source[0] += tree("", [f"{short(module)} <sdk/{module}>" for module in public_modules()])
    if page == "docs/decisions/README":
        source[0] += tree("", re.findall(r"^\| \[\d+\]\((.+)\.md\)", source[0], re.MULTILINE))


def tree(caption: str, pages: list[str]) -> str:
    """A table of contents that the site shows at its side."""
    lines = [
        "",
        "```{toctree}",
        ":hidden:",
        ":titlesonly:",
        *([f":caption: {caption}"] if caption else []),
        "",
        *pages,
        "```",
        "",
    ]
    return "\n".join(lines)


def chapters() -> Iterator[tuple[str, list[str]]]:
    """The headings of the documents' map, each with the pages under it, as seen from the root."""
    yield "", ["docs/README", "sdk/README", "docs/glossary"]
    caption = ""
    pages: dict[str, list[str]] = {}
    for line in (ROOT / "docs/README.md").read_text().splitlines():
        if line.startswith("## "):
            caption = line.removeprefix("## ")
        elif line.startswith("- "):
            found = re.findall(r"\]\(([^)]+)\.md\)", line)
            pages.setdefault(caption, []).extend(posixpath.normpath(f"docs/{page}") for page in found)
    yield from pages.items()


def public_modules() -> list[str]:
    """The modules that applications import from: those with ``__all__``, without what is inside of one."""
    walked = pkgutil.walk_packages(PACKAGE.__path__, f"{PACKAGE.__name__}.")
    names = [each.name for each in walked if "._" not in each.name]
    offering = [name for name in names if hasattr(importlib.import_module(name), "__all__")]
    inside = {name for name in offering if name.rpartition(".")[0] in offering}
    return [PACKAGE.__name__, *(name for name in offering if name not in inside | FOR_ITS_OWN_USE)]


def short(module: str) -> str:
    """The name of a module without that of the package."""
    return module.removeprefix(f"{PACKAGE.__name__}.")


def write_module_pages() -> None:
    """A page for each module, in a folder that git passes over."""
    pages = {f"{name}.rst": module_page(name) for name in public_modules()}
    folder = ROOT / MODULE_PAGES
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        page = folder / name
        if not page.exists() or page.read_text() != text:
            page.write_text(text)


def module_page(name: str) -> str:
    """What Sphinx is told to say of a module: what it is for, and each of its names as it is imported."""
    parts = [f"{name}\n{'=' * len(name)}", f".. automodule:: {name}\n   :no-members:"]
    offered = [(each, home(name, each)) for each in vars(importlib.import_module(name))["__all__"]]
    parts += [entry(made_in, each) for each, made_in in offered if made_in == name]
    elsewhere = sorted(f"   ~{shown(made_in, each)}" for each, made_in in offered if made_in != name)
    if elsewhere:
        own = len(elsewhere) < len(offered)
        parts += [
            ".. currentmodule:: None",
            *(["From other modules, to import from here too:"] if own else []),
        ]
        parts += [".. autosummary::", "\n".join(elsewhere)]
    return "\n\n".join([*parts, ""])


def entry(module: str, name: str) -> str:
    """The directive for one name; of a class also what it inherits, but not from a class of Python itself."""
    word = kind(module, name)
    lines = [f".. auto{word}:: {shown(module, name)}"]
    if word == "class":
        lines.append(f"   :inherited-members: {OF_PYTHON}")
    if word == "data" and not isinstance(getattr(importlib.import_module(module), name), str | int | float):
        lines.append("   :no-value:")
    lines += ["", *(f"   {line}" for line in docs_of_data(module, name))] if word == "data" else []
    return "\n".join(lines)


def docs_of_data(package: str, name: str) -> list[str]:
    """The docstring below a constant that a package takes from inside of it, where Sphinx does not look."""
    value = getattr(importlib.import_module(package), name)
    inside = [module for module in list(sys.modules) if module.startswith(f"{package}.")]
    for module in (sys.modules[each] for each in inside):
        if vars(module).get(name) is value and hasattr(module, "__file__"):
            return ModuleAnalyzer.for_module(module.__name__).find_attr_docs().get(("", name), [])
    return []


def home(module: str, name: str) -> str:
    """The module on whose page a name stands: where it is made, if applications import from there."""
    if module == PACKAGE.__name__:
        return f"{module}.{PACKAGE._HOMES[name]}"
    value = getattr(importlib.import_module(module), name)
    if (isinstance(value, type) or inspect.isfunction(value)) and value.__module__ in public_modules():
        return value.__module__
    return module


def shown(module: str, name: str) -> str:
    """The name in full: as short as it can be imported. In ``legacy`` other things have the same names."""
    value = getattr(importlib.import_module(module), name)
    at_the_top = name in PACKAGE.__all__ and getattr(PACKAGE, name) is value
    return f"{PACKAGE.__name__ if at_the_top and kind(module, name) != 'data' else module}.{name}"


def kind(module: str, name: str) -> str:
    """The word of Sphinx for what the name stands for."""
    value = getattr(importlib.import_module(module), name)
    if isinstance(value, type):
        return "exception" if issubclass(value, BaseException) else "class"
    return "function" if inspect.isfunction(value) else "data"
