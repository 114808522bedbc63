"""What is taken and shown of a test of a callback URL."""

from __future__ import annotations

from typing import Literal

import msgspec

from fleetbell.domain.examination import Examined, Step


class UrlToTest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A callback URL to send a test message to."""

    url: str


class FactView(msgspec.Struct, frozen=True):
    """Something that was seen."""

    name: str
    value: str


class StepView(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a test; a step that is ok may have an advice too."""

    part: Literal["name", "connection", "tls", "answer"]
    outcome: Literal["ok", "failed", "not reached"]
    took_ms: int | None
    facts: list[FactView]
    reason: str
    advice: str

    @classmethod
    def of(cls, step: Step) -> StepView:
        return cls(
            part=step.part.value,
            outcome=step.outcome.value,
            took_ms=step.took_ms,
            facts=[FactView(name, value) for name, value in step.facts],
            reason=step.reason,
            advice=step.advice,
        )


class ExaminationView(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a test: whether a push would have been delivered, and the steps in order."""

    url: str
    webhook_id: str
    passed: bool
    steps: list[StepView]

    @classmethod
    def of(cls, examined: Examined) -> ExaminationView:
        return cls(
            url=examined.url,
            webhook_id=examined.webhook_id,
            passed=examined.examination.passed,
            steps=[StepView.of(step) for step in examined.examination.steps],
        )
