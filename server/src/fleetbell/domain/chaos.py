"""Trouble that a developer asks for at an endpoint, to try a receiver with it: chaos.

It never breaks a promise. What it does to a message could as well have happened on its way to a real
receiver: an answer that is lost, a line that is slow, a receiver that is away.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

import msgspec

from fleetbell.errors import InputInvalid

DELAY_MOST_S: Final = 60.0  # well within the five minutes that receivers allow a signature to be old
SEED_MOST: Final = 2**31 - 1
LASTS_MOST_MS: Final = 24 * 3_600_000  # so that nobody forgets it


class Chaos(msgspec.Struct, frozen=True, kw_only=True):
    """What is to go wrong at one endpoint, and until when. A share is from 0 to 1.

    Raises:
        InputInvalid: it does nothing, or more than can be.

    >>> Chaos(ends_at_ms=5, duplicate=1.5)
    Traceback (most recent call last):
    fleetbell.errors.InputInvalid: duplicate is a share from 0 to 1, not 1.5
    """

    ends_at_ms: int
    delay_least_s: float = 0.0  # each message leaves later by something between these two
    delay_most_s: float = 0.0
    duplicate: float = 0.0  # the share that is posted twice
    reorder: float = 0.0  # the share that waits until a message of another lane has overtaken it
    refuse: float = 0.0  # the share of posts that fail without leaving the platform
    seed: int = 1  # another one gives the bad luck to other messages

    def __post_init__(self) -> None:
        for name in ("duplicate", "reorder", "refuse"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise InputInvalid(f"{name} is a share from 0 to 1, not {share:g}")
        if not 0 <= self.delay_least_s <= self.delay_most_s <= DELAY_MOST_S:
            raise InputInvalid(
                f"a delay is from one to another number of seconds, from 0 to {DELAY_MOST_S:g}, "
                f"not from {self.delay_least_s:g} to {self.delay_most_s:g}"
            )
        if not 0 <= self.seed <= SEED_MOST:
            raise InputInvalid(f"a seed is a whole number from 0 to {SEED_MOST}, not {self.seed}")
        if not (self.delay_most_s or self.duplicate or self.reorder or self.refuse):
            raise InputInvalid("chaos needs a delay, or a share to duplicate, to reorder or to refuse")

    def active(self, at_ms: int) -> bool:
        """Whether it counts. One that seems to last longer than any may was made by a wrong clock."""
        return 0 < self.ends_at_ms - at_ms <= LASTS_MOST_MS

    def luck(self, delivery_id: int, attempt: int) -> Luck:
        """What happens to one attempt: always the same for the same seed, whatever happens to others.

        >>> Chaos(ends_at_ms=5, duplicate=0.5).luck(7, 1) == Chaos(ends_at_ms=9, duplicate=0.5).luck(7, 1)
        True
        """
        chance = Random(f"{self.seed} {delivery_id} {attempt}")  # noqa: S311  # guards nothing
        delayed, refused, held, twice, together = (chance.random() for _ in range(5))
        return Luck(
            delay_s=self.delay_least_s + delayed * (self.delay_most_s - self.delay_least_s),
            refused=refused < self.refuse,
            overtaken=held < self.reorder,
            twice=twice < self.duplicate,
            together=together < 0.5,
        )


@dataclass(frozen=True, slots=True)
class Luck:
    """What chaos does to one attempt. One that is refused meets with nothing else but the delay."""

    delay_s: float = 0.0
    refused: bool = False
    overtaken: bool = False
    twice: bool = False
    together: bool = False  # of the two: side by side, and not the one after the other

    @property
    def note(self) -> str:
        """What to say of it in the attempt log.

        >>> Luck(delay_s=1.25, overtaken=True, twice=True).note
        'chaos: 1.2 s late, overtaken, sent twice'
        >>> Luck().note
        ''
        """
        told = [
            f"{self.delay_s:.1f} s late" if self.delay_s else "",
            "overtaken" if self.overtaken else "",
            "sent twice" if self.twice else "",
        ]
        words = ", ".join(filter(None, told))
        return f"chaos: {words}" if words else ""
