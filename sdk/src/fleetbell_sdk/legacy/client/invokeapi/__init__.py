"""The original's package of this name, with a module for each class of calls, and the receiver's."""

from __future__ import annotations

from fleetbell_sdk.legacy import calls, places, push

for _name in calls.__all__:
    places.put(__name__, _name, **{_name: getattr(calls, _name)})


def _of_the_receiver(name: str) -> object:
    """``app`` is made when it is asked for: only an application that has Flask does so."""
    if name == "app":
        return push.application()
    raise AttributeError(f"the module of PushMessageReceiver has no {name!r}")


places.put(
    __name__,
    "PushMessageReceiver",
    PushMessageReceiver=push.PushMessageReceiver,
    request=push.request,
    __getattr__=_of_the_receiver,
)
