"""A fake platform: it answers the calls of the northbound API and pushes, all in the process of a test.

Its rooms are named as those of the real one: ``door`` is the listener, ``call`` reads a call, a file for each
concept answers it, ``fleet`` is what there is, ``sender`` pushes, ``platform`` is what a test holds.
"""

from __future__ import annotations

from fleetbell_sdk.testing.fake.platform import Called, FakePlatform, NotDelivered, Pushed

__all__ = ["Called", "FakePlatform", "NotDelivered", "Pushed"]
