"""How wishes are put together into transactions."""

import itertools
import threading
from collections.abc import Callable

import pytest

from fleetbell_sdk.inbox.group import End, GroupWriter, Keep
from fleetbell_sdk.inbox.message import Kept

SOON_S = 10.0


class Disk:
    """Writes groups when it is allowed to, and remembers how many messages each had."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.is_writing = threading.Event()
        self.go_on = threading.Semaphore(0)

    def write(self, keeps: list[Keep], _ends: list[End]) -> None:
        self.groups.append(len(keeps))
        self.is_writing.set()
        assert self.go_on.acquire(timeout=SOON_S)


class Message:
    """One that is to be kept, and whether that was told."""

    def __init__(self) -> None:
        self.is_kept = threading.Event()
        self.outcome: Kept | Exception | None = None
        self.wish = Keep((), self._told, None, again=False)

    def _told(self, outcome: Kept | Exception) -> None:
        self.outcome = outcome
        self.is_kept.set()


@pytest.fixture
def disk() -> Disk:
    return Disk()


def a_writer(write: Callable[[list[Keep], list[End]], None]) -> GroupWriter:
    """One for whom each write takes half a minute by its clock, so that it waits that long for others."""
    clock = itertools.count(0, 30)
    return GroupWriter(write, patience_most_s=30.0, now_s=lambda: next(clock))


def test_what_comes_while_one_group_is_written_is_the_next_group(disk: Disk) -> None:
    writer = a_writer(disk.write)
    first, second, third = Message(), Message(), Message()

    writer.put(first.wish)
    assert disk.is_writing.wait(SOON_S)
    writer.put(second.wish)
    writer.put(third.wish)
    disk.go_on.release(2)
    writer.close()

    assert disk.groups == [1, 2]
    assert all(message.is_kept.is_set() for message in (first, second, third))


def test_a_group_waits_for_who_was_just_answered(disk: Disk) -> None:
    writer = a_writer(disk.write)
    first, others, again = Message(), [Message(), Message()], Message()

    writer.put(first.wish)
    assert disk.is_writing.wait(SOON_S)
    for other in others:
        writer.put(other.wish)
    disk.go_on.release()
    assert first.is_kept.wait(SOON_S)
    writer.put(again.wish)  # now as many have come as were under way before
    disk.go_on.release()

    assert again.is_kept.wait(SOON_S)
    assert disk.groups == [1, 3]
    writer.close()


def test_who_is_alone_never_waits_for_others(disk: Disk) -> None:
    writer = a_writer(disk.write)
    disk.go_on.release(3)
    for _ in range(3):
        message = Message()
        writer.put(message.wish)

        assert message.is_kept.wait(SOON_S)

    assert disk.groups == [1, 1, 1]
    writer.close()


def test_closing_waits_for_nobody_and_writes_what_is_there(disk: Disk) -> None:
    writer = a_writer(disk.write)
    first, second, third = Message(), Message(), Message()
    writer.put(first.wish)
    assert disk.is_writing.wait(SOON_S)
    writer.put(second.wish)
    writer.put(third.wish)
    disk.go_on.release()
    assert first.is_kept.wait(SOON_S)

    disk.go_on.release(2)
    writer.close()

    assert second.is_kept.is_set()
    assert third.is_kept.is_set()


def test_a_group_that_cannot_be_written_is_told_to_all_of_it() -> None:
    def fail(_keeps: list[Keep], _ends: list[End]) -> None:
        raise OSError("the disk is full")

    writer = GroupWriter(fail)
    message = Message()

    writer.put(message.wish)

    assert message.is_kept.wait(SOON_S)
    assert "the disk is full" in str(message.outcome)
    writer.close()
