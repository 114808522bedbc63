"""What signs push messages, from millisecond to millisecond."""

from fleetbell.adapters.memory.store import MemoryStore
from fleetbell.domain.application import Rotating
from fleetbell.ports.store import Store
from fleetbell.services.application import Applications
from fleetbell.services.signing import Signers
from fleetbell.testing.clock import START_MS, PretendClock
from fleetbell.testing.makers import PRIVATE_KEY, SIGNING_SECRET, a_signing_key, an_application
from fleetbell_sdk.signature import PrivateKey, Secret, Sign, sign, signer

OTHER_SECRET = "whsec_" + "b3RoZXIga2V5IG9mIGEgdGVzdCwgMzAgYnl0ZXMh"
FORMER = "whsk_TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs="  # the second example of RFC 8032, section 7.1
AT_S = START_MS // 1000


def signed_by(*secrets: str) -> str:
    return " ".join(sign(Secret.parse(secret).key, "msg-1", AT_S, b"{}") for secret in secrets)


def signatures(signers: Signers, *, at_ms: int) -> str:
    found = signers.of("app-1", at_ms=at_ms)
    assert found is not None
    return told_by(found)


def told_by(sign_it: Sign) -> str:
    return sign_it("msg-1", AT_S, b"{}")


async def keep(store: Store, signing: Rotating | None = None) -> None:
    await store.write(lambda tx: tx.add_application(an_application(signing=signing)))


async def test_a_former_secret_signs_to_its_last_millisecond_and_not_longer() -> None:
    store = MemoryStore()
    await keep(store, Rotating(SIGNING_SECRET, OTHER_SECRET, START_MS + 500))
    signers = Signers(store)

    both, one = signed_by(SIGNING_SECRET, OTHER_SECRET), signed_by(SIGNING_SECRET)
    told = [signatures(signers, at_ms=START_MS + ms) for ms in (0, 499, 500, 501, 5000)]
    assert told == [both, both, one, one, one]


async def test_a_new_secret_signs_before_it_is_shown() -> None:
    store = MemoryStore()
    await keep(store)
    signers = Signers(store)
    applications = Applications(store, PretendClock(), signing_changed=signers.changed)
    before = signatures(signers, at_ms=START_MS)

    new = await applications.rotate_signing("app-1", overlap_s=60)

    assert before == signed_by(SIGNING_SECRET)
    assert signatures(signers, at_ms=START_MS) == signed_by(new, SIGNING_SECRET)


async def test_what_another_process_changed_is_seen_within_a_second() -> None:
    store = MemoryStore()
    await keep(store)
    signers = Signers(store)
    before = signatures(signers, at_ms=START_MS)
    elsewhere = Applications(store, PretendClock())

    new = await elsewhere.rotate_signing("app-1", overlap_s=60)

    assert signatures(signers, at_ms=START_MS + 999) == before
    assert signatures(signers, at_ms=START_MS + 1000) == signed_by(new, SIGNING_SECRET)


async def test_an_application_that_is_gone_signs_nothing() -> None:
    store = MemoryStore()
    await keep(store)
    signers = Signers(store)
    applications = Applications(store, PretendClock(), signing_changed=signers.changed)
    assert signatures(signers, at_ms=START_MS)

    await applications.delete("app-1")

    assert signers.of("app-1", at_ms=START_MS) is None


async def test_a_key_signs_beside_the_secret_from_its_first_to_its_last_millisecond() -> None:
    store = MemoryStore()
    await keep(store)
    former = a_signing_key("key-1", private_key=FORMER, signs_until_ms=START_MS + 900)
    new = a_signing_key("key-2", signs_from_ms=START_MS + 500)
    for key in (former, new):
        await store.write(lambda tx, key=key: tx.add_signing_key(key))  # type: ignore[misc]
    signers = Signers(store)

    secret, former_key, new_key = (
        Secret.parse(SIGNING_SECRET),
        PrivateKey.parse(FORMER),
        PrivateKey.parse(PRIVATE_KEY),
    )
    told = [signatures(signers, at_ms=START_MS + ms) for ms in (0, 499, 500, 899, 900)]
    assert told == [
        told_by(signer([secret], keys))
        for keys in ([former_key], [former_key], [new_key, former_key], [new_key, former_key], [new_key])
    ]


async def test_a_key_signs_also_after_the_clock_was_put_back_to_before_it_was_made() -> None:
    store = MemoryStore()
    await keep(store)
    former = a_signing_key("key-1", private_key=FORMER, signs_until_ms=START_MS + 900)
    new = a_signing_key("key-2", signs_from_ms=START_MS + 500)
    for key in (former, new):
        await store.write(lambda tx, key=key: tx.add_signing_key(key))  # type: ignore[misc]

    told = signatures(Signers(store), at_ms=START_MS - 86_400_000)

    assert told == told_by(signer([Secret.parse(SIGNING_SECRET)], [PrivateKey.parse(FORMER)]))
