"""``fleetbell endpoint test``: why does a push fail?"""

from __future__ import annotations

from fleetbell.cli.door import operator
from fleetbell.cli.place import HERE, Place
from fleetbell.cli.terminal import Failed, print_json, remark, say
from fleetbell.operator.views.examination import ExaminationView, StepView, UrlToTest

_INDENT = " " * 13


async def examine(endpoint: str, *, app: str | None = None, json: bool = False, place: Place = HERE) -> None:
    """Send a signed test message, and say step by step what became of it and what would help.

    It goes the way of every push, on a connection of its own; the receiver can tell it by the header
    fleetbell-test. The exit code is 0 only when a push would have been delivered.

    Parameters
    ----------
    endpoint: str
        The endpoint's number, or a callback URL, which need not be subscribed yet.
    app: str
        Whose secret, CAs and client certificate count for a URL; not needed when there is one application.
    json: bool
        One JSON object instead of lines.
    """
    if not endpoint.isdecimal() and "://" not in endpoint:
        raise Failed(
            f"an endpoint is its number or a URL such as https://receiver.example/push, not {endpoint!r}"
        )
    async with operator(place.settings().settings) as door:
        if endpoint.isdecimal():
            found = await door.post(f"/endpoints/{endpoint}/test", ExaminationView)
        else:
            path = f"/applications/{await door.application_id(app)}/endpoint-tests"
            found = await door.post(path, ExaminationView, UrlToTest(url=endpoint))
    if json:
        print_json(found)
    else:
        _print(found)
    if not found.passed:
        raise Failed("a push to this URL fails")


def _print(found: ExaminationView) -> None:
    remark(f"{found.webhook_id} to {found.url}")
    for step in found.steps:
        _print_step(step)


def _print_step(step: StepView) -> None:
    took = "" if step.took_ms is None else f"{step.took_ms} ms"
    say(f"{step.outcome.ljust(11)}  {step.part.ljust(12)}  {took}".rstrip())
    facts = [(fact.name, fact.value) for fact in step.facts]
    more = [("because", step.reason), ("advice", step.advice)]
    for name, value in (*facts, *((name, value) for name, value in more if value)):
        say(f"{_INDENT}{name.ljust(12)}  {value}")
