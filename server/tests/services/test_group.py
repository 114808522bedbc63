"""Making, changing, filling and deleting device groups."""

import pytest

from fleetbell.errors import (
    ApplicationUnknown,
    DeviceUnknown,
    GroupDevicesTooMany,
    GroupFull,
    GroupNameTaken,
    GroupUnknown,
    InputInvalid,
)
from fleetbell.ports.store import Page
from fleetbell.services.group import GroupWords
from server.tests.services.house import House


@pytest.fixture
async def house(house: House) -> House:
    """With two applications and two devices of the first."""
    for application_id in ("app-1", "app-2"):
        await house.application(application_id)
    return house


async def ids(house: House, *node_ids: str, application_id: str = "app-1") -> list[str]:
    return [(await house.device(name, application_id=application_id)).device_id for name in node_ids]


async def test_a_group_is_found_as_it_was_made(house: House) -> None:
    one, two = await ids(house, "meter-1", "meter-2")
    words = GroupWords(name="hall", description="the north hall", devices_most=2)

    group = await house.groups.create("app-1", words, [two, one, two])

    assert house.groups.get("app-1", group.group_id) == group
    assert (group.name, group.description, group.devices_most) == ("hall", "the north hall", 2)
    assert (group.device_count, group.created_at_ms) == (2, house.clock.now_ms())
    assert house.groups.devices("app-1", group.group_id, Page()).rows == (one, two)


async def test_a_device_may_be_in_several_groups(house: House) -> None:
    [one] = await ids(house, "meter-1")

    groups = [await house.groups.create("app-1", GroupWords(name=name), [one]) for name in ("a", "b")]

    assert [group.device_count for group in groups] == [1, 1]


async def test_an_application_that_is_gone_gets_no_group(house: House) -> None:
    with pytest.raises(ApplicationUnknown):
        await house.groups.create("app-9", GroupWords(name="hall"))


async def test_a_group_with_a_wrong_device_is_not_made(house: House) -> None:
    [foreign] = await ids(house, "meter-1", application_id="app-2")

    for device_id in (foreign, "dev-9"):
        with pytest.raises(DeviceUnknown, match="none was added"):
            await house.groups.create("app-1", GroupWords(name="hall"), [device_id])

    assert house.groups.list("app-1", Page()).total == 0


async def test_a_group_takes_no_more_devices_than_it_says(house: House) -> None:
    one, two = await ids(house, "meter-1", "meter-2")
    group = await house.groups.create("app-1", GroupWords(name="hall", devices_most=1), [one])

    with pytest.raises(GroupFull, match="takes 1 devices"):
        await house.groups.add("app-1", group.group_id, [two])
    await house.groups.add("app-1", group.group_id, [one])

    assert house.groups.devices("app-1", group.group_id, Page()).rows == (one,)
    with pytest.raises(GroupFull):
        await house.groups.create("app-1", GroupWords(name="other", devices_most=1), [one, two])


async def test_a_limit_is_not_set_below_what_is_there(house: House) -> None:
    group = await house.groups.create("app-1", GroupWords(name="hall"), await ids(house, "m-1", "m-2"))

    with pytest.raises(GroupFull, match="at least as many"):
        await house.groups.modify("app-1", group.group_id, devices_most=1)

    assert (await house.groups.modify("app-1", group.group_id, devices_most=2)).devices_most == 2


async def test_a_change_leaves_what_it_does_not_name(house: House) -> None:
    group = await house.groups.create("app-1", GroupWords(name="hall", description="d", devices_most=3))

    await house.groups.modify("app-1", group.group_id, name="yard")
    await house.groups.modify("app-1", group.group_id, description="")
    await house.groups.modify("app-1", group.group_id)

    changed = house.groups.get("app-1", group.group_id)
    assert (changed.name, changed.description, changed.devices_most) == ("yard", "", 3)


async def test_a_name_is_taken_once_in_an_application(house: House) -> None:
    await house.groups.create("app-1", GroupWords(name="hall"))
    yard = await house.groups.create("app-1", GroupWords(name="yard"))
    await house.groups.create("app-2", GroupWords(name="hall"))

    with pytest.raises(GroupNameTaken):
        await house.groups.create("app-1", GroupWords(name="hall"))
    with pytest.raises(GroupNameTaken):
        await house.groups.modify("app-1", yard.group_id, name="hall")


async def test_devices_are_removed_and_those_that_are_not_there_passed_over(house: House) -> None:
    one, two = await ids(house, "meter-1", "meter-2")
    group = await house.groups.create("app-1", GroupWords(name="hall"), [one, two])

    left = await house.groups.remove("app-1", group.group_id, [one, one, "dev-9"])

    assert left.device_count == 1
    assert house.groups.get("app-1", group.group_id) == left


async def test_one_call_takes_a_thousand_devices(house: House) -> None:
    group = await house.groups.create("app-1", GroupWords(name="hall"))
    many = [f"dev-{number}" for number in range(1001)]

    for change in (house.groups.add, house.groups.remove):
        with pytest.raises(GroupDevicesTooMany, match="1001 devices"):
            await change("app-1", group.group_id, many)
    with pytest.raises(GroupDevicesTooMany):
        await house.groups.create("app-1", GroupWords(name="other"), many)
    assert (await house.groups.remove("app-1", group.group_id, many[:1000])).device_count == 0


async def test_a_deleted_group_is_gone_and_its_devices_stay(house: House) -> None:
    [one] = await ids(house, "meter-1")
    group = await house.groups.create("app-1", GroupWords(name="hall"), [one])

    await house.groups.delete("app-1", group.group_id)

    assert house.devices.get("app-1", one).device_id == one
    with pytest.raises(GroupUnknown):
        house.groups.get("app-1", group.group_id)


async def test_a_group_of_another_application_is_unknown(house: House) -> None:
    [one] = await ids(house, "meter-1")
    group = await house.groups.create("app-1", GroupWords(name="hall"), [one])
    groups, group_id = house.groups, group.group_id

    with pytest.raises(GroupUnknown):
        groups.get("app-2", group_id)
    with pytest.raises(GroupUnknown):
        groups.devices("app-2", group_id, Page())
    for change in (
        groups.modify("app-2", group_id, name="mine"),
        groups.delete("app-2", group_id),
        groups.add("app-2", group_id, []),
        groups.remove("app-2", group_id, [one]),
    ):
        with pytest.raises(GroupUnknown):
            await change

    assert groups.list("app-2", Page()).total == 0
    assert groups.get("app-1", group_id) == group


@pytest.mark.parametrize(
    "words",
    [
        {"name": ""},
        {"name": "x" * 51},
        {"name": "a\nb"},
        {"name": "a", "description": "x" * 1025},
        {"name": "a", "devices_most": -1},
        {"name": "a", "devices_most": 2**31},
    ],
)
def test_words_that_cannot_be_are_refused(words: dict[str, object]) -> None:
    with pytest.raises(InputInvalid):
        GroupWords(**words)  # type: ignore[arg-type]
