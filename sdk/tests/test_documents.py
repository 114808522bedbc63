"""The reference page of the SDK says what the SDK does."""

import re
from pathlib import Path

import fleetbell_sdk
from fleetbell_sdk import AsyncReceiver, Client, errors, legacy, signature

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = (DOCS / "reference" / "sdk.md").read_text()


def section(title: str) -> str:
    return REFERENCE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def test_every_name_of_the_package_is_on_the_reference_page() -> None:
    assert [name for name in fleetbell_sdk.__all__ if f"`{name}`" not in REFERENCE] == []


def test_the_table_of_calls_has_the_clients_methods_and_no_other() -> None:
    first_cells = [row.split(" | ")[0] for row in section("Calls").splitlines() if row.startswith("| `")]

    assert set(re.findall(r"`(\w+)\(", " ".join(first_cells))) == public(Client) - {"close"}


def test_the_table_of_errors_is_the_table_in_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d, ]+)", section("Errors"), re.MULTILINE)
    written = {code: kind for kind, codes in rows for code in re.findall(r"\d+", codes)}

    assert written == {code: kind.__name__ for code, kind in errors.REFUSALS.items()}


def test_the_table_of_old_classes_has_their_methods() -> None:
    for row in re.findall(r"^\| `(\w+)` \| (.*) \|$", section("`fleetbell_sdk.legacy`"), re.MULTILINE):
        name, methods = row
        if name not in {"PushMessageReceiver", "caFile", "verify"}:
            assert set(re.findall(r"`(\w+)`", methods)) == public(getattr(legacy, name))


def test_every_header_is_on_the_reference_page() -> None:
    names = [value for name, value in vars(signature).items() if name.endswith("_HEADER")]

    assert len(names) == 7
    assert [name for name in names if f"`{name}`" not in REFERENCE] == []


def test_asynchronous_receivers_have_the_same_registration() -> None:
    assert AsyncReceiver.on is fleetbell_sdk.Receiver.on
