"""Signing keys: nobody who keeps the published ones for as long as is allowed is ever cut off."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetbell.adapters.memory.store import MemoryStore
from fleetbell.domain.signing_key import KEY_SET_AGE_S, SigningKey
from fleetbell.errors import ApplicationUnknown, InputInvalid, SigningKeyRotating, SigningKeyUnknown
from fleetbell.services.signing_key import SigningKeys
from fleetbell.testing.clock import PretendClock
from fleetbell.testing.makers import an_application
from fleetbell_sdk.signature import PrivateKey
from server.tests.services.house import House

HOUR_MS = 3_600_000
DAY_S = 86_400


async def rotated(house: House, *, announce_s: int = DAY_S, overlap_s: int = DAY_S) -> SigningKey:
    return await house.signing_keys.rotate("app-1", announce_s=announce_s, overlap_s=overlap_s)


def signing(house: House) -> list[str]:
    at_ms = house.clock.now_ms()
    return [key.key_id for key in house.signing_keys.list("app-1") if key.signs(at_ms=at_ms)]


def published(house: House) -> list[str]:
    return [key.key_id for key in house.signing_keys.published("app-1")]


def v1a_count(house: House) -> int:
    sign = house.signers.of("app-1", at_ms=house.clock.now_ms())
    assert sign is not None
    return sign("msg-1", 1, b"{}").count("v1a,")


async def test_an_application_has_no_key_until_one_is_made(house: House) -> None:
    await house.application()

    assert house.signing_keys.list("app-1") == ()
    assert v1a_count(house) == 0


async def test_the_first_key_signs_at_once(house: House) -> None:
    await house.application()

    key = await rotated(house)

    assert signing(house) == published(house) == [key.key_id]
    assert PrivateKey.parse(key.private_key).public.text == key.public_key
    assert v1a_count(house) == 1


async def test_a_private_key_does_not_show_itself(house: House) -> None:
    await house.application()

    key = await rotated(house)

    assert key.private_key not in repr(key)


async def test_another_key_is_announced_then_both_sign_then_it_alone(house: House) -> None:
    await house.application()
    first = (await rotated(house)).key_id

    second = (await rotated(house, announce_s=3600, overlap_s=7200)).key_id

    stages = []
    for _ in range(5):
        stages.append((signing(house), published(house), v1a_count(house)))
        house.clock.advance(HOUR_MS)
    assert stages == [
        ([first], [first, second], 1),
        ([first, second], [first, second], 2),
        ([first, second], [first, second], 2),
        ([second], [first, second], 1),
        ([second], [second], 1),
    ]


async def test_one_rotation_at_a_time(house: House) -> None:
    await house.application()
    await rotated(house)
    await rotated(house, announce_s=3600, overlap_s=0)

    with pytest.raises(SigningKeyRotating, match="ends at 2026-11-20T11:00:00"):
        await rotated(house)

    house.clock.advance(HOUR_MS)
    assert (await rotated(house)).key_id in published(house)


async def test_a_key_that_was_withdrawn_is_forgotten_with_the_next_rotation(house: House) -> None:
    await house.application()
    first = await rotated(house)
    await rotated(house, announce_s=3600, overlap_s=0)
    house.clock.advance(2 * HOUR_MS)

    await rotated(house)

    assert first.key_id not in {key.key_id for key in house.store.reading.signing_keys("app-1")}


async def test_a_key_that_leaked_is_removed_and_the_announced_one_signs_at_once(house: House) -> None:
    await house.application()
    leaked = await rotated(house)
    new = await rotated(house)

    await house.signing_keys.remove("app-1", leaked.key_id)

    assert signing(house) == published(house) == [new.key_id]
    assert v1a_count(house) == 1


async def test_an_announced_key_that_is_removed_leaves_the_former_one_as_it_was(house: House) -> None:
    await house.application()
    first = await rotated(house)
    new = await rotated(house)

    await house.signing_keys.remove("app-1", new.key_id)

    assert house.signing_keys.list("app-1") == (first,)


async def test_removing_a_key_that_has_ended_leaves_a_rotation_as_it_is(house: House) -> None:
    await house.application()
    first = await rotated(house)
    await rotated(house, announce_s=3600, overlap_s=0)
    house.clock.advance(HOUR_MS)
    await rotated(house)
    _, *others = house.signing_keys.list("app-1")

    await house.signing_keys.remove("app-1", first.key_id)

    assert house.signing_keys.list("app-1") == tuple(others)


async def test_without_its_last_key_an_application_is_signed_for_with_its_secret_alone(house: House) -> None:
    await house.application()
    only = await rotated(house)

    await house.signing_keys.remove("app-1", only.key_id)

    assert v1a_count(house) == 0


@pytest.mark.parametrize(
    ("announce_s", "overlap_s"), [(3599, 0), (-1, 0), (10**9, 0), (3600, -1), (3600, 10**9)]
)
async def test_times_that_would_cut_receivers_off_or_mean_nothing_are_refused(
    house: House, announce_s: int, overlap_s: int
) -> None:
    await house.application()

    with pytest.raises(InputInvalid, match=r"\d s, not"):
        await rotated(house, announce_s=announce_s, overlap_s=overlap_s)


async def test_what_is_unknown_is_said_to_be_unknown(house: House) -> None:
    with pytest.raises(ApplicationUnknown):
        await rotated(house)
    with pytest.raises(ApplicationUnknown):
        house.signing_keys.list("app-1")
    with pytest.raises(ApplicationUnknown):
        await house.signing_keys.remove("app-1", "key-1")
    await house.application()
    with pytest.raises(SigningKeyUnknown, match="'key-1'"):
        await house.signing_keys.remove("app-1", "key-1")
    assert house.signing_keys.published("nobody") == ()


STEPS = st.lists(
    st.one_of(
        st.integers(1, 3 * HOUR_MS),  # let so many milliseconds pass
        st.tuples(st.sampled_from([3600, 3601, 7200]), st.sampled_from([0, 1, 1800, 7200])),  # rotate
    ),
    max_size=40,
)


@given(STEPS)
async def test_whoever_asks_once_an_hour_knows_every_key_that_signs(
    steps: list[int | tuple[int, int]],
) -> None:
    store, clock = MemoryStore(), PretendClock()
    await store.write(lambda tx: tx.add_application(an_application()))
    signing_keys = SigningKeys(store, clock)
    await signing_keys.rotate("app-1", announce_s=3600, overlap_s=0)
    seen: list[tuple[int, set[str]]] = []

    for step in steps:
        if isinstance(step, int):
            clock.advance(step)
        else:
            announce_s, overlap_s = step
            try:
                await signing_keys.rotate("app-1", announce_s=announce_s, overlap_s=overlap_s)
            except SigningKeyRotating:
                continue
        now_ms = clock.now_ms()
        seen.append((now_ms, {key.key_id for key in signing_keys.published("app-1")}))
        sign = {key.key_id for key in store.reading.signing_keys("app-1") if key.signs(at_ms=now_ms)}
        assert sign
        assert all(sign <= known for at_ms, known in seen if now_ms - at_ms < KEY_SET_AGE_S * 1000)
