"""The messages of one device's upgrade, from the first state to the result, and what can happen to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args, overload

from fleetbell_sdk.testing.messages import (
    Outcome,
    body_of,
    firmware_result,
    firmware_state,
    outcome_of,
    software_result,
    software_state,
)
from fleetbell_sdk.testing.signing import Delivery
from fleetbell_sdk.wire import UpgradeMessage, UpgradeResult, UpgradeState

__all__ = ["Kind", "Share", "Story", "story"]

Kind = Literal["software", "firmware"]

WORKING: Final = (UpgradeState.DOWNLOADING, UpgradeState.DOWNLOADED, UpgradeState.UPDATING)


@dataclass(frozen=True, slots=True)
class Story(Sequence[Delivery]):
    """Deliveries to one receiver in the order in which they come. Every method makes another story.

    ``index`` counts as in a list: 0 is the first of the deliveries, -1 the last.

    >>> [delivery.sequence for delivery in story().repeated(1).lost(-2)]
    [1, 2, 2, 3, 5]
    """

    deliveries: tuple[Delivery, ...]

    @overload
    def __getitem__(self, index: int) -> Delivery: ...

    @overload
    def __getitem__(self, index: slice) -> Story: ...

    def __getitem__(self, index: int | slice) -> Delivery | Story:
        found = self.deliveries[index]
        return found if isinstance(found, Delivery) else Story(found)

    def __len__(self) -> int:
        return len(self.deliveries)

    def __iter__(self) -> Iterator[Delivery]:
        return iter(self.deliveries)

    def __add__(self, other: Sequence[Delivery]) -> Story:
        return Story((*self.deliveries, *other))

    def repeated(self, index: int) -> Story:
        """The answer to one was lost, so it comes again before the next."""
        return self._with(index, self[index], self[index].again())

    def skipped(self, index: int) -> Story:
        """The platform gave up on one, and the next says so."""
        place = range(len(self))[index]
        if place + 1 == len(self):
            return self._with(index)
        one, following = self[place], self[place + 1]
        told = replace(following, skipped=following.skipped + one.skipped + 1)
        return self._with(index)._with(place, told)

    def lost(self, index: int) -> Story:
        """One never comes, and nothing says so but the gap in the sequence numbers."""
        return self._with(index)

    def late(self, index: int) -> Story:
        """One comes after the one behind it."""
        place = range(len(self))[index]
        if place + 1 == len(self):
            return self
        one, following = self[place], self[place + 1]
        return self._with(place, following)._with(place + 1, one)

    def replayed(self, index: int) -> Story:
        """Somebody has one sent again, after everything else."""
        return self + (self[index].replayed(),)

    def _with(self, index: int, *instead: Delivery) -> Story:
        place = range(len(self))[index]
        return Story((*self.deliveries[:place], *instead, *self.deliveries[place + 1 :]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One device's share of an upgrade: what all its messages say."""

    kind: Kind = "software"
    device_id: str = "dev-a"
    app_id: str = "app-0001"
    operation_id: str = "op-300"
    sub_operation_id: str = "sop-1"
    target_version: str = "V1.1.0"
    source_version: str = "V1.0.0"

    def states(
        self, reached: UpgradeState, *, after: UpgradeState = UpgradeState.IDLE
    ) -> list[UpgradeMessage]:
        """The messages that tell of every working state behind ``after``, up to ``reached``."""
        return [self._state(state) for state in WORKING[_place(after) : _place(reached)]]

    def end(
        self, outcome: Outcome, *, reached: UpgradeState, upgrade_time: str = "259"
    ) -> list[UpgradeMessage]:
        """The messages of the end: idle, where another state was told before, and the result."""
        idle = [] if reached is UpgradeState.IDLE else [self._state(UpgradeState.IDLE)]
        result = software_result if self.kind == "software" else firmware_result
        return [
            *idle,
            result(
                outcome,
                device_id=self.device_id,
                app_id=self.app_id,
                operation_id=self.operation_id,
                sub_operation_id=self.sub_operation_id,
                target_version=self.target_version,
                source_version=self.source_version,
                upgrade_time=upgrade_time,
            ),
        ]

    def _state(self, state: UpgradeState) -> UpgradeMessage:
        of_kind = software_state if self.kind == "software" else firmware_state
        return of_kind(
            state,
            device_id=self.device_id,
            app_id=self.app_id,
            operation_id=self.operation_id,
            sub_operation_id=self.sub_operation_id,
        )


def _place(state: UpgradeState) -> int:
    return WORKING.index(state) + 1 if state in WORKING else 0


def story(
    kind: Kind = "software",
    *,
    outcome: Outcome | UpgradeResult | str = UpgradeResult.SUCCESS,
    device_id: str = "dev-a",
    app_id: str = "app-0001",
    operation_id: str = "op-300",
    sub_operation_id: str = "sop-1",
    target_version: str = "V1.1.0",
    source_version: str = "V1.0.0",
    first_sequence: int = 1,
) -> Story:
    """All that is told of one device's upgrade, in its order: the states, idle, the result.

    ``outcome`` is a result code, a reason, a result or an :class:`Outcome`; it also says how far the device
    comes before it fails.

    >>> [delivery.message.state.value for delivery in story()[:-1]]
    ['downloading', 'downloaded', 'updating', 'idle']
    >>> [delivery.message.notify_type.value for delivery in story("firmware", outcome="Task Conflict")]
    ['fwUpgradeResultNotify']
    """
    if kind not in get_args(Kind):
        raise ValueError(f"a story is of software or firmware, not {kind!r}")
    share = Share(
        kind=kind,
        device_id=device_id,
        app_id=app_id,
        operation_id=operation_id,
        sub_operation_id=sub_operation_id,
        target_version=target_version,
        source_version=source_version,
    )
    ended = outcome_of(outcome)
    messages = [*share.states(ended.reached), *share.end(ended, reached=ended.reached)]
    return Story(
        tuple(
            Delivery(body_of(message), sequence=first_sequence + place)
            for place, message in enumerate(messages)
        )
    )
