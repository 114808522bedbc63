"""Every call that the fake platform knows: importing this brings them all to :func:`answer`."""

from __future__ import annotations

from fleetbell_sdk.testing.fake import (
    access,
    device,
    group,
    notification,
    package,
    signing_key,
    subscription,
    task,
)
from fleetbell_sdk.testing.fake.call import answer

__all__ = ["ROOMS", "answer"]

ROOMS = (access, subscription, device, group, package, task, notification, signing_key)
