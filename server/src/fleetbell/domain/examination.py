"""What became of a test of an endpoint: step by step, with what would help where it failed."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Part(enum.StrEnum):
    """The parts of a POST, in their order."""

    NAME = "name"  # the addresses of the host, and whether the guard lets connections go there
    CONNECTION = "connection"
    TLS = "tls"  # not there for a plain http URL
    ANSWER = "answer"  # to the signed POST


class Outcome(enum.StrEnum):
    """How a step ended."""

    OK = "ok"
    FAILED = "failed"
    NOT_REACHED = "not reached"  # a step before it failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of an examination.

    ``facts`` are names and values for a person to read, in order; a name may come more than once. ``reason``
    says why it failed, ``advice`` what would help; a step that is ok may have advice too, such as to renew a
    certificate soon.
    """

    part: Part
    outcome: Outcome
    took_ms: int | None = None
    facts: tuple[tuple[str, str], ...] = ()
    reason: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Examination:
    """The steps, in order.

    >>> name = Step(part=Part.NAME, outcome=Outcome.FAILED)
    >>> examination = Examination.of([name], tls=True)
    >>> [str(step.outcome) for step in examination.steps], examination.passed
    (['failed', 'not reached', 'not reached', 'not reached'], False)
    """

    steps: tuple[Step, ...]

    @classmethod
    def of(cls, made: list[Step], *, tls: bool) -> Examination:
        """The steps that were made, and the others as not reached. Without ``tls`` there is no such step."""
        there = {step.part for step in made}
        parts = [part for part in Part if tls or part is not Part.TLS]
        rest = [Step(part=part, outcome=Outcome.NOT_REACHED) for part in parts if part not in there]
        return cls((*made, *rest))

    @property
    def passed(self) -> bool:
        """Whether a push would have been delivered."""
        return all(step.outcome is Outcome.OK for step in self.steps)


@dataclass(frozen=True, slots=True)
class Examined:
    """What became of testing a URL; by the ``webhook-id`` the receiver's log has it."""

    url: str
    webhook_id: str
    examination: Examination
