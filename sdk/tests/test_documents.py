"""The reference page of the SDK names all there is and nothing else; the front page's programs run."""

import dataclasses
import importlib
import inspect
import itertools
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fleetbell_sdk
from fleetbell_sdk import AsyncClient, AsyncReceiver, Client, Context, Receiver, errors, legacy, signature
from fleetbell_sdk.frameworks import standalone
from fleetbell_sdk.inbox import Failed, Gap, PostgresInbox, SqliteInbox, Stock
from fleetbell_sdk.legacy import platform, push
from fleetbell_sdk.legacy.dto import Dto
from fleetbell_sdk.testing import (
    Called,
    Delivery,
    FakePlatform,
    Outcome,
    Pushed,
    Signed,
    Story,
    deliver,
    story,
)

from .certificates import Certificates
from .scripted import Answer, Platform

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "sdk.md"
REFERENCE = PAGE.read_text()
FRONT_PAGE = (Path(__file__).parents[1] / "README.md").read_text()
REPOSITORY_PAGE = (Path(__file__).parents[2] / "README.md").read_text()

# What an application imports from; what else the package has is for its own use.
MODULES = [
    "fleetbell_sdk",
    "fleetbell_sdk.errors",
    "fleetbell_sdk.wire",
    "fleetbell_sdk.signature",
    "fleetbell_sdk.key_set",
    "fleetbell_sdk.inbox",
    "fleetbell_sdk.testing",
    "fleetbell_sdk.frameworks.standalone",
    "fleetbell_sdk.frameworks.flask",
    "fleetbell_sdk.frameworks.starlette",
    "fleetbell_sdk.frameworks.django",
    "fleetbell_sdk.frameworks.wsgi",
    "fleetbell_sdk.frameworks.asgi",
    "fleetbell_sdk.legacy",
    "fleetbell_sdk.legacy.client",
    "fleetbell_sdk.legacy.client.dto",
    "fleetbell_sdk.legacy.client.invokeapi",
    "fleetbell_sdk.legacy.constant",
    "fleetbell_sdk.legacy.utils",
]
OUR_OWN = {"REFUSALS", "refusal"}  # the table itself is on the page
KEYS = {fleetbell_sdk.Secret, fleetbell_sdk.PublicKey}
VALUES: set[type] = {
    kind
    for kind in (getattr(fleetbell_sdk, name) for name in fleetbell_sdk.__all__)
    if inspect.isclass(kind) and dataclasses.is_dataclass(kind) and kind not in KEYS
} | {Outcome, Delivery, Signed, Called, Pushed, Gap, Failed, Stock}
DTOS: set[type] = {
    kind
    for kind in (getattr(legacy, name) for name in legacy.__all__)
    if isinstance(kind, type) and issubclass(kind, Dto)
}
OLD_CLASSES: set[type] = {
    legacy.Authentication,
    legacy.SubscriptionManagement,
    legacy.DeviceUpgrade,
    legacy.DeviceManagement,
    legacy.DataCollection,
    legacy.DeviceGroupManagement,
    legacy.Constant,
    legacy.NorthApiClient,
    legacy.DictUtil,
    legacy.Log,
}
CLASSES: set[type] = {
    Client,
    Receiver,
    Context,
    SqliteInbox,
    fleetbell_sdk.KeySet,
    fleetbell_sdk.PublicKey,
    standalone.Server,
    legacy.PushMessageReceiver,
    signature.SignatureInvalid,
    FakePlatform,
}
# Words of the page in code type that are not the names of modules, parameters, methods or fields.
WORDS = {
    *(
        "await",
        "async",
        "with",
        "true",
        "false",
        "False",
        "RETRY_WAITS_S",
        "now",
        "deviceModelDeleted",
        "httpx2",
        "v1",
        "v1a",
    ),
    *(
        "ValueError",
        "TypeError",
        "OSError",
        "TimeoutError",
        "failed",
        "getX",
        "setX",
        "FLEETBELL_APPLICATION_INI",
    ),
    *("LogUtil", "app"),  # modules of the original
    *("host", "port", "reason", "is_lasting"),  # attributes that are set when an object is made
    "calls",  # the same, of a fake platform
    *("fleetbell_platform", "fleetbell_client"),  # fixtures
}


def by_name(kinds: set[type]) -> list[type]:
    return sorted(kinds, key=lambda kind: kind.__name__)


def public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def fields_of(kind: type) -> list[str]:
    fields = [field.name for field in dataclasses.fields(kind) if not field.name.startswith("_")]
    return fields + [name for name, value in vars(kind).items() if isinstance(value, property)]


def offered(module: str) -> dict[str, object]:
    home = importlib.import_module(module)
    return {name: getattr(home, name) for name in getattr(home, "__all__", ())}


def members_of(kind: type) -> dict[str, object]:
    """What a class has, of its own and inherited."""
    return {name: value for each in reversed(kind.__mro__) for name, value in vars(each).items()}


def callables() -> dict[str, list[Callable[..., object]]]:
    """What the page may show with its parameters, by name."""
    found: dict[str, list[Callable[..., object]]] = {"receive": [Receiver.receive], "on": [Receiver.on]}
    shown = (
        Client,
        AsyncClient,
        Receiver,
        fleetbell_sdk.KeySet,
        SqliteInbox,
        PostgresInbox,
        FakePlatform,
    )
    found |= {kind.__name__: [kind] for kind in shown}
    offers = [offered(module) for module in MODULES]
    offers += [
        members_of(kind)
        for kind in (
            Client,
            Receiver,
            Context,
            fleetbell_sdk.KeySet,
            SqliteInbox,
            standalone.Server,
            Story,
            Delivery,
            FakePlatform,
        )
    ]
    offers += [members_of(legacy.PushMessageReceiver)]
    for name, value in itertools.chain(*(offer.items() for offer in offers)):
        if inspect.isfunction(value):
            found.setdefault(name, []).append(value)
    return found


def rows(first_cell: str) -> Iterator[tuple[str, str]]:
    """The second cells of the rows whose first cell is this name in code type."""
    for match in re.finditer(rf"^\| `({first_cell})` \| (.*?) \|$", REFERENCE, re.MULTILINE):
        yield match[1], match[2]


def names_in(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def parameters_of(function: Callable[..., object]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


@pytest.mark.parametrize("module", MODULES)
def test_every_name_that_a_module_offers_is_on_the_page(module: str) -> None:
    missing = [name for name in offered(module) if not re.search(rf"`{name}\b", REFERENCE)]

    assert set(missing) <= OUR_OWN
    assert f"`{module}`" in REFERENCE


def test_no_name_on_the_page_is_stale() -> None:
    known = {*WORDS, *MODULES, *push.HANDLERS, *platform._KEYS}
    known |= {name for kind in (*CLASSES, *OLD_CLASSES) for name in public(kind)}
    known |= {name for kind in VALUES for name in fields_of(kind)}
    known |= {name for kind in DTOS for name in vars(kind)["FIELDS"]}
    known |= {name for module in MODULES for name in offered(module)}
    known |= {name for same in callables().values() for each in same for name in parameters_of(each)}

    assert [name for name in re.findall(r"`([A-Za-z]\w*)`", REFERENCE) if name not in known] == []


def test_what_is_shown_with_parameters_has_these_parameters() -> None:
    shown = re.findall(r"`(?:receiver\.)?(\w+)\(([^`]*)\)`", REFERENCE)
    known = callables()

    assert len(shown) > 40
    for name, text in shown:
        written = re.findall(r"(?:^|, )(\w+)(?==|,|$)", text.replace("*, ", ""))
        if text.endswith("..."):  # the page has just shown the rest
            assert written in [parameters_of(each)[: len(written)] for each in known[name]], (name, text)
        else:
            assert written in [parameters_of(each) for each in known[name]], (name, text)


def test_the_table_of_calls_has_the_clients_methods_and_no_other() -> None:
    calls = REFERENCE.partition("\n## Calls\n")[2].partition("\n## ")[0]
    first_cells = [row.split(" | ")[0] for row in calls.splitlines() if row.startswith("| `")]

    assert set(re.findall(r"`(\w+)\(", " ".join(first_cells))) == public(Client) - {"close"}
    assert public(AsyncClient) == public(Client)


def test_the_table_of_errors_is_the_table_in_the_code() -> None:
    table = re.findall(r"^\| `(\w+)` \| ([\d, ]+)", REFERENCE, re.MULTILINE)
    written = {code: kind for kind, codes in table for code in re.findall(r"\d+", codes) if len(code) > 3}

    assert written == {code: kind.__name__ for code, kind in errors.REFUSALS.items()}


@pytest.mark.parametrize("kind", by_name(VALUES))
def test_a_value_has_the_fields_on_the_page(kind: type) -> None:
    assert fields_of(kind) in [names_in(cell) for _, cell in rows(kind.__name__)]


@pytest.mark.parametrize("kind", by_name(DTOS))
def test_a_dto_has_the_fields_on_the_page(kind: type) -> None:
    fields = ", ".join(f"`{name}`" for name in vars(kind)["FIELDS"])

    assert (kind.__name__, fields) in list(rows(kind.__name__))


@pytest.mark.parametrize("kind", by_name(OLD_CLASSES))
def test_an_old_class_has_the_methods_on_the_page(kind: type) -> None:
    [(_, methods)] = rows(kind.__name__)

    assert set(names_in(methods)) == public(kind)


def test_every_type_has_its_handler_on_the_page() -> None:
    table = {name: cell for name, cell in rows(r"\w+") if cell.startswith("`handle")}

    assert table == {str(kind): f"`{handler}`" for kind, handler in push.HANDLERS.items()}


def test_every_header_is_on_the_page_and_no_other() -> None:
    names = {value for name, value in vars(signature).items() if name.endswith("_HEADER")}

    assert {name for name, _ in rows(r"(?:webhook|fleetbell)-\w+")} == names


def programs(page: str) -> dict[str, Any]:
    """What the programs of the page define."""
    names: dict[str, Any] = {}
    for program in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        exec(program, names)
    return names


@pytest.mark.parametrize("page", [FRONT_PAGE, REPOSITORY_PAGE], ids=["of the SDK", "of the repository"])
def test_the_receiver_of_the_front_page_handles_a_result_once(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    [secret] = re.findall(r"whsec_\w+", page)
    receiver: Receiver = programs(page)["receiver"]
    assert receiver.inbox is not None

    with receiver:
        statuses = [deliver(receiver, delivery, secret=secret).status for delivery in story().repeated(-1)]
        while receiver.inbox.stock().waiting:
            time.sleep(0.01)

    assert set(statuses) == {200}
    assert capsys.readouterr().out.count("dev-a SUCCESS V1.1.0") == 1


def test_the_upgrade_of_the_front_page_makes_its_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: Platform, certificates: Certificates
) -> None:
    devices = [{"deviceId": "dev-a"}, {"deviceId": "dev-b"}]
    platform.script = [Answer(200)] * 4
    platform.script += [Answer(200, {"fileId": "pkg-55"})]
    platform.script += [Answer(200, {"totalCount": 2, "pageNo": 0, "pageSize": 100, "devices": devices})]
    platform.script += [Answer(200, {"operationId": "op-300"})]
    platform.script += [Answer(200, {"operationId": "op-300", "status": "success"})]

    monkeypatch.chdir(tmp_path)

    task = programs(FRONT_PAGE)["upgrade"](
        platform.url, str(certificates.ca_file), "s", "https://127.0.0.1:8443/push", str(certificates.ca_file)
    )

    assert task.status == "success"
    assert platform.work[-2].json == {"fileId": "pkg-55", "targets": {"devices": ["dev-a", "dev-b"]}}


def test_asynchronous_receivers_have_the_same_registration() -> None:
    assert AsyncReceiver.on is Receiver.on
