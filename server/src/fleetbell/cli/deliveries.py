"""``fleetbell delivery``: what became of every push message, and sending it again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

from cyclopts import App, Group, Parameter

from fleetbell.cli.door import Operator, Query, operator
from fleetbell.cli.place import HERE, PLAIN, Place
from fleetbell.cli.terminal import (
    Failed,
    ago,
    counted,
    moment,
    print_facts,
    print_json,
    print_table,
    remark,
    say,
)
from fleetbell.operator.views.delivery import (
    AttemptView,
    DeliveryView,
    FoundDeliveries,
    Replayed,
    StandingWord,
    TracedView,
)
from fleetbell.operator.views.device import DeviceView
from fleetbell.operator.views.notification import NotificationView

app = App(name="delivery", help="Push messages: what became of them.", default_parameter=PLAIN)

PART = 1000  # deliveries asked for at once


@Parameter(name="*", group=Group("Which deliveries", sort_key=50))
@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """What deliveries are chosen by; all of it must fit."""

    app: str | None = None
    "Those of this application."

    endpoint: int | None = None
    "To this endpoint, by its number in: fleetbell endpoint list"

    device: str | None = None
    "About this device, by its id or its node id."

    task: str | None = None
    "About this upgrade task (operation id)."

    sub_task: str | None = None
    "About this sub task (sub-operation id)."

    standing: StandingWord | None = None
    "waiting, delivered, dead or superseded."

    since: str | None = None
    "Told at this time or later: 2026-11-20T10:00:00Z, or 90s, 15min, 2h, 7d ago."

    until: str | None = None
    "Told before this time."

    def query(self) -> Query:
        """The query of the door."""
        given = {
            "application_id": self.app,
            "endpoint_id": self.endpoint,
            "device_id": self.device,
            "operation_id": self.task,
            "sub_operation_id": self.sub_task,
            "standing": self.standing,
            "from_ms": None if self.since is None else moment(self.since, now=datetime.now(UTC)),
            "before_ms": None if self.until is None else moment(self.until, now=datetime.now(UTC)),
        }
        return {name: value for name, value in given.items() if value is not None}


ALL = Which()
"""Nothing said: every delivery."""


@app.command(name="list")
async def list_(*, most: int = 50, json: bool = False, which: Which = ALL, place: Place = HERE) -> None:
    """List deliveries, the newest first.

    Parameters
    ----------
    most: int
        How many at most.
    json: bool
        One JSON list instead of a table.
    """
    if most < 1:
        raise Failed(f"--most is 1 or more, not {most}")
    async with operator(place.settings().settings) as door:
        found, more = await _found(door, await _query(door, which), most)
        if not found:
            await _check(door, which)
    if json:
        print_json(found)
        return
    print_table(
        ("number", "told", "device", "message", "endpoint", "stands", "attempts"),
        [
            (
                each.delivery_id,
                ago(each.made_at_ms),
                each.device_id,
                each.notify_type,
                each.endpoint_id,
                stands(each),
                each.attempts,
            )
            for each in found
        ],
        empty="No delivery fits.",
    )
    if more:
        remark(f"There are more; these are the newest {most}. Choose fewer, or raise --most.")


async def _query(door: Operator, which: Which) -> Query:
    """The query of the door, in which a device has its id. One that was deleted is known by its id only."""
    query = which.query()
    if which.device is None:
        return query
    try:
        return {**query, "device_id": await _device_id(door, which.device)}
    except Failed:
        return query


async def _check(door: Operator, which: Which) -> None:
    """Refuse, when nothing was found, what does not exist: nothing could be."""
    await door.only(which.app)
    if which.device is not None:
        await _device_id(door, which.device)


async def _device_id(door: Operator, name: str) -> str:
    return (await door.get(f"/devices/{quote(name, safe='')}", DeviceView)).device_id


async def _found(door: Operator, query: Query, most: int) -> tuple[list[DeliveryView], bool]:
    """Up to ``most``, and whether there are more."""
    found: list[DeliveryView] = []
    after: Query = {}
    while True:
        part = await door.get(
            "/deliveries", FoundDeliveries, {**query, **after, "size": min(PART, most - len(found))}
        )
        found += part.items
        if part.next is None or len(found) >= most:
            return found, part.next is not None
        after = {"before": part.next}


@app.command
async def show(name: str, *, json: bool = False, place: Place = HERE) -> None:
    """Show one message with every attempt to deliver it.

    Parameters
    ----------
    name: str
        The number of a delivery, or the webhook-id that a receiver saw (msg-...).
    json: bool
        One JSON object instead of lines.
    """
    async with operator(place.settings().settings) as door:
        if name.isdecimal():
            webhook_id = (await door.get(f"/deliveries/{name}", TracedView)).delivery.webhook_id
        else:
            webhook_id = name
        found = await door.get(f"/notifications/{quote(webhook_id, safe='')}", NotificationView)
    chosen = [
        one for one in found.deliveries if not name.isdecimal() or one.delivery.delivery_id == int(name)
    ]
    if json:
        print_json(NotificationView(webhook_id=webhook_id, body=found.body, deliveries=chosen))
        return
    print_facts((("webhook-id", webhook_id), ("body", found.body)))
    if not chosen:
        remark("It is on its way to nobody: no subscription asked for it, or the log no longer has it.")
    for traced in chosen:
        say("")
        _print_delivery(traced)


def _print_delivery(traced: TracedView) -> None:
    delivery = traced.delivery
    print_facts(
        (
            ("delivery", delivery.delivery_id),
            ("sends again", delivery.replay_of),
            ("endpoint", delivery.endpoint_id),
            ("device", delivery.device_id),
            ("place in its lane", delivery.sequence),
            ("told", ago(delivery.made_at_ms)),
            ("stands", stands(delivery)),
        )
    )
    ended = {attempt.number: attempt for attempt in traced.attempts}
    for number in range(1, delivery.attempts + 1):
        say(f"  attempt {number}: {_attempt(ended.get(number), waits=delivery.standing == 'waiting')}")


def _attempt(attempt: AttemptView | None, *, waits: bool) -> str:
    if attempt is None:
        return "under way" if waits else "no end was seen; the platform stopped or the message was cancelled"
    came = f"answered {attempt.status}" if attempt.status is not None else attempt.trouble or ""
    where = f" from {attempt.address}" if attempt.address else ""
    text = f": {attempt.text}" if attempt.text else ""
    return f"{ago(attempt.at_ms)}, {came}{where} after {attempt.took_ms} ms{text}"


def stands(delivery: DeliveryView) -> str:
    """Where a delivery stands, in words."""
    if delivery.reason is not None:
        return f"{delivery.standing} ({delivery.reason})"
    again = " again" if delivery.replay_of is not None else ""
    return f"{delivery.standing}{again}"


@app.command
async def replay(
    delivery: int | None = None,
    *,
    all: Annotated[bool, Parameter(name="--all")] = False,
    json: bool = False,
    which: Which = ALL,
    place: Place = HERE,
) -> None:
    """Send messages again that were sent before: same id, same bytes, marked as a replay.

    Parameters
    ----------
    delivery: int
        The number of one delivery; instead of choosing by what follows.
    all: bool
        Everything that has ended; needed when nothing else is said.
    json: bool
        One JSON object instead of a line.
    """
    is_chosen = which != ALL
    if delivery is not None and (is_chosen or all):
        raise Failed("name one delivery, or choose several by --device and the like or --all, not both")
    if delivery is None and not is_chosen and not all:
        raise Failed("say which: a number, --device and the like, or --all")
    async with operator(place.settings().settings) as door:
        if delivery is not None:
            made = await door.post(f"/deliveries/{delivery}/replay", Replayed)
        else:
            made = await door.post("/replays", Replayed, _chosen(await _query(door, which), only_dead=False))
            if not made.count:
                await _check(door, which)
    _tell(
        made, door, json=json, none="Nothing is sent again: it waits anyway, or nobody subscribes there now."
    )


@app.command
async def resend(*, json: bool = False, which: Which = ALL, place: Place = HERE) -> None:
    """Send dead messages again, those that nobody has sent again yet.

    Parameters
    ----------
    json: bool
        One JSON object instead of a line.
    """
    async with operator(place.settings().settings) as door:
        made = await door.post("/replays", Replayed, _chosen(await _query(door, which), only_dead=True))
        if not made.count:
            await _check(door, which)
    _tell(made, door, json=json, none="No dead message fits.")


def _chosen(query: Query, *, only_dead: bool) -> dict[str, object]:
    return {**query, "only_dead": only_dead}


def _tell(made: Replayed, door: Operator, *, json: bool, none: str) -> None:
    if json:
        print_json(made)
    elif made.count:
        say(f"{counted(made.count, 'message')} on the way again.")
    else:
        remark(none)
    if made.count and not door.running:
        remark("They leave once the platform runs: fleetbell serve")
