"""Who is let in, and what a poll says."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from fleetbell.domain.application import digest
from fleetbell.errors import Busy, InputInvalid
from fleetbell.southbound.ddi.contacts import Contacts
from fleetbell.southbound.ddi.door import DoorSettings
from fleetbell.testing.makers import an_application
from server.tests.southbound.ddi.house import APP, NODE, TOKEN, House, told

BASE = f"https://fleet.example:8943/DEFAULT/controller/v1/{NODE}"


async def use_gateway_token(house: House, token: str) -> None:
    application = replace(an_application(APP, ddi_tenant="meters"), gateway_token=digest(token))
    await house.store.write(lambda tx: tx.save_application(application))


async def test_a_device_with_nothing_to_do_is_told_only_when_to_come_again(house: House) -> None:
    reply = await house.ask("GET")

    assert reply.status == 200
    assert reply.json == {"config": {"polling": {"sleep": "00:01:00"}}, "_links": {}}


@pytest.mark.parametrize("tenant", ["DEFAULT", "default", "Default", "meters", "METERS"])
async def test_a_tenant_is_known_in_any_case(house: House, tenant: str) -> None:
    assert (await house.ask("GET", tenant=tenant)).status == 200


async def test_an_application_is_reached_under_its_id_whatever_others_there_are(house: House) -> None:
    await house.store.write(lambda tx: tx.add_application(an_application("app-2")))

    assert (await house.ask("GET", tenant=APP)).status == 200
    assert (await house.ask("GET", tenant="app-2")).status == 401  # the device is not of that one


async def test_the_default_tenant_means_the_only_application_or_the_configured_one(house: House) -> None:
    await house.store.write(lambda tx: tx.add_application(an_application("app-2")))

    assert (await house.ask("GET")).status == 401  # which of two?
    configured = house.a_door(DoorSettings(default_application_id=APP))
    assert (await house.ask("GET", door=configured)).status == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"authorization": None},
        {"authorization": "TargetToken"},
        {"authorization": "TargetToken "},
        {"authorization": "TargetToken another"},
        {"authorization": f"TargetToken  {TOKEN}"},
        {"authorization": f"TargetToken {TOKEN} "},
        {"authorization": f"targettoken {TOKEN}"},
        {"authorization": f"GatewayToken {TOKEN}"},
        {"authorization": f"Bearer {TOKEN}"},
        {"authorization": "TargetToken \xff"},
        {"node": "nobody"},
        {"node": "%FF%00"},
        {"tenant": "nobody"},
    ],
)
async def test_whatever_is_wrong_with_who_asks_the_answer_is_the_same_empty_401(
    house: House, wrong: dict[str, str | None]
) -> None:
    reply = await house.ask("GET", **wrong)  # type: ignore[arg-type]

    assert (reply.status, reply.body, reply.headers) == (401, b"", {"content-length": "0"})


async def test_a_device_without_a_token_of_its_own_is_not_let_in_by_an_empty_one(house: House) -> None:
    for token in (None, ""):
        await house.change_device(target_token=token)
        for shown in ("TargetToken ", "TargetToken None", "TargetToken"):
            assert (await house.ask("GET", authorization=shown)).status == 401


async def test_a_gateway_token_acts_for_every_device_and_brings_new_ones_with_their_first_poll(
    house: House,
) -> None:
    await use_gateway_token(house, "the gateway")
    shown = "GatewayToken the gateway"

    assert (await house.ask("GET", authorization=shown)).status == 200
    assert (await house.ask("GET", "deploymentBase/1", node="new%20one", authorization=shown)).status == 401
    replies = await asyncio.gather(
        *(house.ask("GET", node="new%20one", authorization=shown) for _ in range(2))
    )
    assert [reply.status for reply in replies] == [200, 200]
    assert list(replies[0].json["_links"]) == ["configData"]
    device = house.store.reading.device_of_node(APP, "new one")
    assert device is not None
    assert device.name == "new one"


@pytest.mark.parametrize("node", ["x" * 257, "%00", "a%0Ab"])
async def test_a_gateway_cannot_bring_a_device_whose_name_cannot_be_kept(house: House, node: str) -> None:
    await use_gateway_token(house, "the gateway")

    reply = await house.ask("GET", node=node, authorization="GatewayToken the gateway")

    assert reply.status == 400
    assert "256 characters, all of them printable" in reply.json["message"]


async def test_a_gateway_of_another_application_is_nobody_here(house: House) -> None:
    other = replace(an_application("app-2", ddi_tenant="other"), gateway_token=digest("theirs"))
    await house.store.write(lambda tx: tx.add_application(other))

    assert (await house.ask("GET", tenant="meters", authorization="GatewayToken theirs")).status == 401


async def test_links_are_absolute_and_the_offer_ends_in_its_number(house: House) -> None:
    action_id = await house.offer()
    await house.change_device(attributes_wanted=True)

    links = (await house.ask("GET")).json["_links"]

    assert links == {
        "deploymentBase": {"href": f"{BASE}/deploymentBase/{action_id}?c=1"},
        "configData": {"href": f"{BASE}/configData"},
    }


async def test_the_number_of_an_offer_changes_with_how_it_is_to_be_handled(house: House) -> None:
    await house.offer()
    gentle = house.a_door(DoorSettings(handling="attempt"))

    forced = (await house.ask("GET")).json["_links"]["deploymentBase"]["href"]
    attempt = (await house.ask("GET", door=gentle)).json["_links"]["deploymentBase"]["href"]

    assert forced.partition("?c=")[0] == attempt.partition("?c=")[0]
    assert forced != attempt


async def test_a_public_url_goes_before_what_the_client_calls_the_door(house: House) -> None:
    door = house.a_door(DoorSettings(public_url="http://devices.example/ota/"))
    await house.change_device(attributes_wanted=True)

    link = (await house.ask("GET", door=door)).json["_links"]["configData"]["href"]

    assert link == f"http://devices.example/ota/DEFAULT/controller/v1/{NODE}/configData"


async def test_a_cancel_goes_before_the_next_offer_and_what_is_installed_stays_in_sight(house: House) -> None:
    installed = await house.offer()
    await house.ask("POST", f"deploymentBase/{installed}/feedback", told("closed", "success"))
    stopped = await house.offer()
    await house.stop(stopped)
    waiting = await house.offer()

    links = (await house.ask("GET")).json["_links"]
    await house.ask("POST", f"cancelAction/{stopped}/feedback", told("closed", "success"))
    links_after = (await house.ask("GET")).json["_links"]

    assert links == {
        "cancelAction": {"href": f"{BASE}/cancelAction/{stopped}"},
        "installedBase": {"href": f"{BASE}/installedBase/{installed}"},
        "configData": {"href": f"{BASE}/configData"},
    }
    assert links_after["deploymentBase"] == {"href": f"{BASE}/deploymentBase/{waiting}?c=1"}


async def test_a_poll_that_would_say_the_same_again_says_304(house: House) -> None:
    first = await house.ask("GET")
    same = await house.ask("GET", headers={"if-none-match": first.headers["etag"]})
    await house.offer()
    other = await house.ask("GET", headers={"if-none-match": first.headers["etag"]})

    assert (same.status, same.body, same.headers["etag"]) == (304, b"", first.headers["etag"])
    assert other.status == 200


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/hal+json", "application/hal+json"),
        ("application/hal+json, application/json", "application/hal+json"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("application/cbor", "application/json"),
    ],
)
async def test_the_client_chooses_the_name_of_json(house: House, accept: str, content_type: str) -> None:
    assert (await house.ask("GET", headers={"accept": accept})).headers["content-type"] == content_type


async def test_the_last_contact_is_written_with_the_next_flush(house: House) -> None:
    await house.ask("GET")

    before = house.device
    assert before.last_contact_at_ms is None
    assert await house.contacts.flush() == 1
    assert house.device.last_contact_at_ms == house.clock.now_ms()
    assert await house.contacts.flush() == 0


async def test_contacts_that_could_not_be_written_wait_and_newer_ones_win() -> None:
    async def busy(_: Mapping[str, int]) -> None:
        contacts.touch("dev-1", 9)
        raise Busy("later")

    contacts = Contacts(busy)
    contacts.touch("dev-1", 1)
    contacts.touch("dev-2", 2)

    with pytest.raises(Busy):
        await contacts.flush()

    assert contacts._waiting == {"dev-1": 9, "dev-2": 2}


@pytest.mark.parametrize("path", ["/", "/favicon.ico", "/DEFAULT/controller/v2/x", "nothing", "a/b/c/d/e"])
async def test_what_is_not_there_is_404(house: House, path: str) -> None:
    reply = await house.ask("GET", path)

    assert reply.status == 404
    assert set(reply.json) == {"exceptionClass", "errorCode", "message"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "", "GET, HEAD"),
        ("GET", "configData", "PUT"),
        ("DELETE", "deploymentBase/1", "GET, HEAD"),
        ("GET", "deploymentBase/1/feedback", "POST"),
        ("PUT", "installedBase/1", "GET, HEAD"),
        ("PUT", "softwaremodules/1/artifacts/x", "GET, HEAD"),
    ],
)
async def test_another_method_is_refused_with_those_that_are_taken(
    house: House, method: str, path: str, allowed: str
) -> None:
    reply = await house.ask(method, path)

    assert (reply.status, reply.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("poll_s", [0, 86_400])
async def test_a_poll_interval_that_agents_cannot_read_is_refused_at_the_start(
    house: House, poll_s: int
) -> None:
    with pytest.raises(InputInvalid):
        house.a_door(DoorSettings(poll_s=poll_s))
