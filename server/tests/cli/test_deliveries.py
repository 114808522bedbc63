"""The commands around deliveries and endpoints, on a folder in which things have happened."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.cli.commands import run
from fleetbell.domain.delivery import DELIVERED, Dead, DeadReason, Settlement, Tried, Verdict
from fleetbell.domain.endpoint import Health
from fleetbell.ports.store import Transaction
from fleetbell.testing.makers import a_notification, a_subscription
from server.tests.cli.conftest import Shell

URL = "https://receiver.example:8443/push"
APP = "meters"


def told(folder: Path, *stories: tuple[str, str, Verdict | None]) -> None:
    """Messages about these devices, with these bodies, each ended so; None: it waits."""

    async def tell() -> None:
        store = SqliteStore.open(folder / "fleetbell.db")
        now_ms = time.time_ns() // 1_000_000

        def work(tx: Transaction) -> None:
            tx.add_subscription(a_subscription(url=URL, application_id=APP))
            for device_id, body, verdict in stories:
                made = a_notification(body, device_id=device_id, application_id=APP, made_at_ms=now_ms)
                over = tx.add_notifications([made], take=lambda _: True, at_ms=now_ms)
                status, trouble = (200, None) if verdict is DELIVERED else (404, "refused")
                tried = Tried(now_ms, 12, "192.0.2.7:8443", status, trouble, "what came back")
                if verdict is not None:
                    settled = [Settlement(head, verdict, tried) for head in over.heads]
                    tx.settle(settled, take=lambda _: False, at_ms=now_ms)

        await store.write(work)
        await store.close()

    asyncio.run(tell())


@pytest.fixture
def used(shell: Shell) -> Shell:
    """A folder with one application: a message that came, one that is dead, one that waits."""
    shell("app create", "Water meters", "--id", APP)
    told(
        shell.folder,
        ("dev-1", "came", DELIVERED),
        ("dev-2", "dead", Dead(DeadReason.REFUSED)),
        ("dev-3", "waits", None),
    )
    return shell


def test_a_device_is_chosen_by_its_node_id_too_and_one_that_is_not_there_is_said_so(used: Shell) -> None:
    device_id = used.json("device add meter-1")["device_id"]
    told(used.folder, (device_id, "dead", Dead(DeadReason.REFUSED)))

    assert [each["device_id"] for each in used.json("delivery list --device meter-1")] == [device_id]
    assert used.json("delivery resend --device meter-1") == {"count": 1}
    assert used.json("delivery resend --device meter-1") == {"count": 0}
    for line in ("delivery list", "delivery replay", "delivery resend"):
        assert "there is no device" in used(f"{line} --device metre-1", code=1)


def test_deliveries_are_listed_the_newest_first(used: Shell) -> None:
    lines = used("delivery list").splitlines()

    assert [line.split()[0] for line in lines] == ["number", "3", "2", "1"]
    assert "dead (refused)" in lines[2]
    assert "delivered" in lines[3]
    assert [each["device_id"] for each in used.json("delivery list --standing dead")] == ["dev-2"]
    assert [each["device_id"] for each in used.json("delivery list --device dev-1 --since 2h")] == ["dev-1"]
    assert used.json("delivery list --until 2h") == []


def test_a_list_says_when_there_is_more(used: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(used.json("delivery list --most 2")) == 2
    assert used("delivery list --most 0", code=1).startswith("fleetbell: --most is 1 or more")


def test_one_message_is_shown_by_its_number_or_by_what_the_receiver_saw(used: Shell) -> None:
    by_number = used("delivery show 2")
    webhook_id = used.json("delivery show 2")["webhook_id"]

    assert "attempt 1: 0 s ago, answered 404 from 192.0.2.7:8443 after 12 ms: what came back" in by_number
    assert webhook_id in by_number
    assert used(f"delivery show {webhook_id}").startswith(f"webhook-id  {webhook_id}\nbody        dead\n")
    assert "there is no delivery '9'" in used("delivery show 9", code=1)
    assert "there is no message with the webhook-id 'nothing'" in used("delivery show nothing", code=1)


def test_a_message_that_nobody_subscribed_to_is_shown_as_one(
    used: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    async def tell() -> str:
        store = SqliteStore.open(used.folder / "fleetbell.db")
        made = [a_notification("kept", notify_type="fwUpgradeResultNotify", application_id=APP)]
        await store.write(lambda tx: tx.add_notifications(made, take=lambda _: False, at_ms=0))
        await store.close()
        return f"msg-{store.instance}-4"

    webhook_id = asyncio.run(tell())
    capsys.readouterr()

    assert run(["delivery", "show", webhook_id, "--folder", str(used.folder)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"webhook-id  {webhook_id}\nbody        kept\n"
    assert "on its way to nobody" in printed.err


def test_an_attempt_without_an_end_says_so(used: Shell) -> None:
    assert "attempt 1: under way" in used("delivery show 3")


def test_messages_are_sent_again(used: Shell) -> None:
    assert used("delivery replay 1") == "1 message on the way again.\n"
    assert used.json("delivery resend") == {"count": 1}
    assert used.json("delivery resend") == {"count": 0}
    assert used.json("delivery replay --device dev-1") == {"count": 1}
    assert used("delivery replay 3") == ""
    assert "not both" in used("delivery replay 1 --device dev-1", code=1)
    assert "--all" in used("delivery replay", code=1)


def test_a_time_that_is_none_is_refused(used: Shell) -> None:
    assert "15min" in used("delivery list --since yesterday", code=1)


def test_endpoints_are_listed_and_shown_by_number_or_url(used: Shell) -> None:
    async def fail() -> None:
        store = SqliteStore.open(used.folder / "fleetbell.db")
        now_ms = time.time_ns() // 1_000_000
        health = Health(3, now_ms + 90_500, 40_000, False, "no connection", now_ms - 7_200_000, ())
        await store.write(lambda tx: tx.save_health(1, health))
        await store.write(lambda tx: tx.save_certificate_end(1, now_ms + 3 * 86_400_000 + 60_000))
        await store.close()

    asyncio.run(fail())

    listed, shown = used("endpoint list"), used("endpoint show", URL)

    assert "failing since 2 h" in listed
    assert "7 days or less" in listed
    for line in ("is                   failing since 2 h", "why                  no connection"):
        assert line in shown
    assert "3 days left" in shown
    assert "next probe           in 1 min" in shown
    assert "the oldest told 0 s ago" in shown
    assert used.json("endpoint show 1")["waiting"] == 1


def test_an_endpoint_is_paused_slowed_and_resumed(used: Shell) -> None:
    assert "fleetbell endpoint resume 1" in used("endpoint pause", URL)
    assert "paused 0 s ago" in used("endpoint list")
    assert "at most 2.5 messages a second" in used("endpoint rate 1 2.5")
    assert used.json("endpoint show 1")["rate_per_s"] == 2.5
    assert "as many messages as it takes" in used("endpoint rate 1")
    assert "1 waiting" in used("endpoint resume 1")
    assert "pause the endpoint" in used("endpoint rate 1 0", code=1)
    assert "there is no endpoint '9'" in used("endpoint pause 9", code=1)
    assert "see: fleetbell endpoint list" in used("endpoint show https://nowhere.example:1/", code=1)


def test_an_endpoint_has_chaos_for_a_while(used: Shell) -> None:
    made = used("endpoint chaos 1 --delay 0 2 --duplicate 0.2 --refuse 0.05 --for 2h")
    assert "chaos (0 to 2 s late, 20% twice, 5% refused) that ends in 1 h" in made
    assert "fleetbell endpoint chaos 1 --off" in made
    assert "healthy, has chaos" in used("endpoint list")
    shown = used("endpoint show 1")
    assert "chaos           (0 to 2 s late, 20% twice, 5% refused) that ends in 1 h" in shown

    assert "on purpose" in used("endpoint chaos", URL, "--off")
    assert used.json("endpoint show 1")["chaos"] is None
    assert "needs a delay, or a share" in used("endpoint chaos 1", code=1)
    assert "at most 24 hours" in used("endpoint chaos 1 --reorder 0.5 --for 2d", code=1)
    assert "such as 90s, 15min, 2h or 7d" in used("endpoint chaos 1 --reorder 0.5 --for ever", code=1)
