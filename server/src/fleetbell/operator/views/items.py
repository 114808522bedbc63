"""A list, whatever it is of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Items(msgspec.Struct, Generic[T], frozen=True):
    """A list or one page of it; ``total`` counts all pages."""

    total: int
    items: list[T]

    @classmethod
    def whole(cls, items: Iterable[T]) -> Items[T]:
        """A list that has one page only."""
        every = list(items)
        return Items(len(every), every)
