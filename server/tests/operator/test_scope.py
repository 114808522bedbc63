"""Who may call what: every operation of the table, so that a new one is covered by being declared."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import httpx2
import pytest
import trustme

from fleetbell.domain.delivery import Delivery
from fleetbell.operator.app import Doors, described
from fleetbell.operator.operation import Operation
from fleetbell.ports.store import Transaction
from fleetbell.services.group import GroupWords
from fleetbell.testing.makers import a_notification, a_subscription, a_token
from server.tests.operator.conftest import BASE, Platform, client_of

TABLE = described()
REALM = 'Bearer realm="fleetbell"'


def named(operation: Operation) -> str:
    return f"{operation.method} {operation.shown_path}"


every_operation = pytest.mark.parametrize("operation", TABLE, ids=named)


def path_of(operation: Operation, ids: Mapping[str, str]) -> str:
    path = operation.shown_path
    for name in operation.path_parameters:
        assert name in ids, f"say in the fixture ids what {name} may be, and whose it is"
        path = path.replace(f"{{{name}}}", ids[name])
    return path


async def called(client: httpx2.AsyncClient, operation: Operation, ids: Mapping[str, str]) -> httpx2.Response:
    content = b"{}" if operation.takes else b""
    return await client.request(operation.method, path_of(operation, ids), content=content)


@pytest.fixture
async def ids(
    door: httpx2.AsyncClient, platform: Platform, application_id: str, device_id: str, file_id: str
) -> dict[str, str]:
    """What application ``app-of-meters`` owns, by the names of the parts of paths."""
    pem = trustme.CA().cert_pem.bytes().decode()
    [ca] = await platform.applications.add_ca(application_id, pem)
    shown = trustme.CA().issue_cert("fleetbell.example").private_key_and_cert_chain_pem.bytes().decode()
    await platform.applications.set_client_certificate(application_id, shown, shown)
    task = await door.post(
        f"/applications/{application_id}/tasks", json={"file_id": file_id, "device_ids": [device_id]}
    )
    group = await platform.groups.create(application_id, GroupWords(name="hall"), [device_id])
    token = await platform.tokens.create("its own", application_id=application_id)
    delivery = await told(platform, application_id)
    key = await platform.signing_keys.rotate(application_id, announce_s=3600, overlap_s=0)
    platform.notifications.end_streams()  # so that each has an end
    return {
        "application_id": application_id,
        "name": device_id,
        "group_id": group.group_id,
        "file_id": file_id,
        "ca_id": ca.ca_id,
        "operation_id": task.json()["operation_id"],
        "token_id": token.token.token_id,
        "key_id": key.key_id,
        "endpoint_id": str(delivery.endpoint_id),
        "delivery_id": str(delivery.delivery_id),
        "webhook_id": platform.deliveries.webhook_id(delivery.notification_id),
    }


async def told(platform: Platform, application_id: str) -> Delivery:
    """A message of this application that waits at an endpoint."""
    url = "https://receiver-of-meters.example:8443/push"

    def work(tx: Transaction) -> None:
        tx.add_subscription(a_subscription(url=url, application_id=application_id))
        made = [a_notification(application_id=application_id)]
        tx.add_notifications(made, take=lambda _: False, at_ms=0)

    await platform.store.write(work)
    return platform.store.reading.deliveries_of(1)[0]


@pytest.fixture
async def stranger(both: Doors, platform: Platform) -> AsyncIterator[httpx2.AsyncClient]:
    """The holder of a token of another application."""
    other = await platform.applications.create("Others", application_id="others")
    made = await platform.tokens.create("theirs", application_id=other.application.application_id)
    async with client_of(both.tcp, made.text) as client:
        yield client


async def everything(door: httpx2.AsyncClient) -> list[str]:
    """All that can be listed and shown of what ``app-of-meters`` owns."""
    owned = [f"/applications/app-of-meters/{each}" for each in ("cas", "client-certificate", "keys")]
    paths = (
        "/applications",
        "/devices",
        "/groups",
        "/packages",
        "/tasks",
        "/deliveries",
        "/endpoints",
        *owned,
    )
    tokens = (await door.get("/tokens")).json()["items"]
    return [*[(await door.get(path)).text for path in paths], *[token["token_id"] for token in tokens]]


@every_operation
async def test_nobody_is_let_in_without_a_token(tcp: httpx2.AsyncClient, operation: Operation) -> None:
    answer = await called(tcp, operation, dict.fromkeys(operation.path_parameters, "x"))

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == REALM
    assert "fleetbell token create" in answer.json()["detail"]


@every_operation
async def test_nobody_is_let_in_with_a_wrong_or_expired_token(
    both: Doors, platform: Platform, operation: Operation
) -> None:
    expired = await platform.tokens.create("old", days=1)
    platform.clock.advance(86_400_000)

    for token in ("wrong", expired.text):
        async with client_of(both.tcp, token) as client:
            answer = await called(client, operation, dict.fromkeys(operation.path_parameters, "x"))
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == f'{REALM}, error="invalid_token"'


@every_operation
async def test_another_applications_things_are_answered_as_if_they_did_not_exist(
    door: httpx2.AsyncClient, stranger: httpx2.AsyncClient, ids: dict[str, str], operation: Operation
) -> None:
    before = await everything(door)
    unknown = {name: f"unknown-{name}" for name in ids}

    theirs = await called(stranger, operation, ids)
    nobodys = await called(stranger, operation, unknown)

    if operation.path_parameters:
        assert theirs.status_code == (403 if operation.operators_only else 404)
    said = theirs.text
    for name in operation.path_parameters:
        said = said.replace(ids[name], unknown[name])
    assert (theirs.status_code, said) == (nobodys.status_code, nobodys.text)
    telling = {name: id_ for name, id_ in ids.items() if not id_.isdecimal()}  # a digit is in any text
    assert not [
        id_ for name, id_ in telling.items() if name not in operation.path_parameters and id_ in theirs.text
    ]
    assert await everything(door) == before


@pytest.mark.parametrize(
    "operation", [one for one in TABLE if one.method == "GET" and not one.path_parameters], ids=named
)
async def test_a_list_and_its_total_have_only_what_is_in_scope(
    stranger: httpx2.AsyncClient, ids: dict[str, str], operation: Operation
) -> None:
    answer = await called(stranger, operation, ids)

    if operation.operators_only:
        assert answer.status_code == 403
    elif answer.headers["content-type"] == "application/json" and "total" in answer.json():
        assert answer.json()["total"] == len(answer.json()["items"]) == (operation.path == "/applications")


@pytest.mark.parametrize(
    "operation",
    [one for one in TABLE if one.query and "application_id" in one.query.__struct_fields__],
    ids=named,
)
async def test_a_list_of_another_application_is_refused_as_one_of_none(
    stranger: httpx2.AsyncClient, ids: dict[str, str], operation: Operation
) -> None:
    answers = [
        await stranger.request(operation.method, operation.path, params={"application_id": application_id})
        for application_id in (ids["application_id"], "none")
    ]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].text.replace(ids["application_id"], "none") == answers[1].text


async def test_a_task_is_not_made_with_another_applications_things(
    stranger: httpx2.AsyncClient, door: httpx2.AsyncClient, ids: dict[str, str]
) -> None:
    wanted = {"file_id": ids["file_id"], "device_ids": [ids["name"]]}
    answer = await stranger.post("/applications/others/tasks", json=wanted)
    nobodys = await stranger.post("/applications/others/tasks", json=wanted | {"file_id": "pkg-0"})

    assert answer.status_code == 404
    assert answer.text.replace(ids["file_id"], "pkg-0") == nobodys.text


async def test_a_node_id_means_the_device_in_scope(
    stranger: httpx2.AsyncClient, platform: Platform, ids: dict[str, str]
) -> None:
    """``app-of-meters`` has a meter-1 too, of which nothing is told."""
    made = await stranger.post("/applications/others/devices", json={"node_id": "meter-1"})
    found = await stranger.get("/devices/meter-1")

    assert made.status_code == 201
    assert found.json()["device_id"] == made.json()["device_id"]


@every_operation
async def test_an_operators_token_opens_every_operation(
    both: Doors, platform: Platform, ids: dict[str, str], operation: Operation
) -> None:
    made = await platform.tokens.create("mine")

    async with client_of(both.tcp, made.text) as client:
        answer = await called(client, operation, ids)
    assert answer.status_code not in (401, 403, 404)


@pytest.mark.parametrize("operation", [one for one in TABLE if not one.operators_only], ids=named)
async def test_an_applications_token_opens_what_is_its_own(
    both: Doors, platform: Platform, ids: dict[str, str], operation: Operation
) -> None:
    made = await platform.tokens.create("mine", application_id=ids["application_id"])

    async with client_of(both.tcp, made.text) as client:
        answer = await called(client, operation, ids)
    assert answer.status_code not in (401, 403, 404)


async def test_the_token_of_a_login_opens_what_is_the_applications_own(
    both: Doors, platform: Platform, ids: dict[str, str]
) -> None:
    await platform.store.write(lambda tx: tx.add_tokens([a_token("login", application_id="app-of-meters")]))

    async with client_of(both.tcp, "login") as client:
        assert (await client.get("/devices")).json()["total"] == 1
        assert (await client.get("/tokens")).status_code == 403


@pytest.mark.parametrize("path", ["/nothing", "/applications"])
async def test_without_a_token_not_even_which_paths_there_are_is_told(
    tcp: httpx2.AsyncClient, path: str
) -> None:
    answers = [await tcp.get(path), await tcp.put(path), await tcp.post(path, content=b"x" * 2_000_000)]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic YTpi", "token"])
async def test_a_header_without_a_bearer_token_is_none(tcp: httpx2.AsyncClient, value: str) -> None:
    answer = await tcp.get("/devices", headers={"Authorization": value})

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, REALM)


async def test_the_scheme_is_read_in_any_case(platform: Platform, tcp: httpx2.AsyncClient) -> None:
    made = await platform.tokens.create("mine")

    answer = await tcp.get(f"{BASE}/devices", headers={"Authorization": f"bearer  {made.text}"})
    assert answer.status_code == 200


async def test_a_token_is_made_listed_and_deleted(door: httpx2.AsyncClient, application_id: str) -> None:
    made = (
        await door.post("/tokens", json={"name": "grafana", "application_id": application_id, "days": 30})
    ).json()
    listed = (await door.get("/tokens")).json()

    assert listed["items"] == [made["details"]]
    assert made["token"] not in str(listed)
    assert made["details"]["expires_at_ms"] - made["details"]["created_at_ms"] == 30 * 86_400_000
    gone = await door.delete(f"/tokens/{made['details']['token_id']}")
    assert gone.status_code == 204
    assert (await door.get("/tokens")).json()["total"] == 0
