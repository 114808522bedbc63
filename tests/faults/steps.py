"""The steps of a message's path at which a platform is killed, each by its name."""

from __future__ import annotations

import enum


class Step(enum.Enum):
    """Where the process dies; in the order of the path, then the beginning and the end of a process."""

    REPORT_READ = "a device's report was read, nothing of it is written"
    REPORT_WRITTEN = "report, state and deliveries are written, inside the transaction"
    REPORT_COMMITTING = "the transaction is about to commit"
    REPORT_KEPT = "the commit is done, the device has no answer"
    REPORT_ANSWERED = "the device's 200 has left; what nobody claimed waits"
    CLAIM_COMMITTING = "heads are claimed, inside the transaction"
    CLAIMED = "the claim is committed, nothing is posted"
    HANDED_OVER = "a head is with the sender, no byte of its POST has left"
    POST_UNDER_WAY = "the receiver has read the request, and has not answered"
    ANSWER_READ = "the 2xx was read, nothing is recorded"
    SETTLE_COMMITTING = "verdict and next head are written, inside the transaction"
    SETTLED = "the verdict is recorded, the next head has not left"
    MIGRATING = "the first start, the schema is made but not committed"
    RELEASING = "a start, the former process's claims are released but not committed"
    RELEASED = "a start, the claims are released, nothing is claimed again"
    STOPPING = "an orderly stop, posts are under way"
    STOP_SETTLING = "an orderly stop, their answers are being recorded"
    STOP_CLOSING = "an orderly stop, all is recorded, the store is open"

    @property
    def title(self) -> str:
        """As it is written in documents and on command lines.

        >>> Step.POST_UNDER_WAY.title
        'post-under-way'
        """
        return self.name.lower().replace("_", "-")

    @property
    def ends_a_stop(self) -> bool:
        """Whether the process has to be told to stop before it comes to this step."""
        return self in (Step.STOPPING, Step.STOP_SETTLING, Step.STOP_CLOSING)

    @property
    def is_in_a_start(self) -> bool:
        """Whether the process comes to this step before it listens."""
        return self in (Step.MIGRATING, Step.RELEASING, Step.RELEASED)


def step_called(title: str) -> Step:
    """The step of this title."""
    return next(step for step in Step if step.title == title)
