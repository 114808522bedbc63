"""What is taken and shown of what goes wrong at an endpoint because somebody asked for it."""

from __future__ import annotations

import msgspec

from fleetbell.domain.chaos import Chaos


class ChaosView(msgspec.Struct, frozen=True, kw_only=True):
    """What goes wrong at an endpoint because somebody asked for it; the shares are from 0 to 1."""

    ends_at_ms: int
    delay_least_s: float
    delay_most_s: float
    duplicate: float
    reorder: float
    refuse: float
    seed: int

    @classmethod
    def of(cls, chaos: Chaos | None, *, at_ms: int) -> ChaosView | None:
        """None when it is over."""
        if chaos is None or not chaos.active(at_ms):
            return None
        return cls(**msgspec.structs.asdict(chaos))


class ChaosToMake(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to go wrong at an endpoint; at least one thing.

    Each message leaves later by something between ``delay_least_s`` and ``delay_most_s`` (at most 60). Then
    there are shares from 0 to 1: ``duplicate`` of the messages are posted twice; ``reorder`` of them wait,
    at most two seconds, until one of another device has overtaken them; ``refuse`` of the posts fail without
    asking the endpoint. ``for_s`` is how long all that lasts, at most 24 hours. Another ``seed`` gives the
    bad luck to other messages.
    """

    delay_least_s: float = 0.0
    delay_most_s: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    refuse: float = 0.0
    seed: int = 1
    for_s: int = 3600

    def chaos(self, *, at_ms: int) -> Chaos:
        """It, from now on.

        Raises:
            InputInvalid: it does nothing, or more than can be.
        """
        return Chaos(
            ends_at_ms=at_ms + self.for_s * 1000,
            delay_least_s=self.delay_least_s,
            delay_most_s=self.delay_most_s,
            duplicate=self.duplicate,
            reorder=self.reorder,
            refuse=self.refuse,
            seed=self.seed,
        )
