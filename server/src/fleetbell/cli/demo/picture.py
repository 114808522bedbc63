"""What a person sees of the demo: live on standard error, and a summary at the end."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from fleetbell.cli.demo.books import FIRMWARE, SOFTWARE
from fleetbell.cli.terminal import counted, err

NUMBERS_WIDTH: Final = 42  # of a bar's name, count and time


class Picture:
    """Bars for both campaigns and for what the receiver has heard; plain lines where nothing can move."""

    def __init__(self, devices: int, *, kills: bool) -> None:
        self._moves = err().is_terminal
        self._kills = kills
        self._line = Text()
        self._bars = Progress(
            TextColumn("{task.description:<17}"),
            BarColumn(bar_width=max(4, min(40, err().width - NUMBERS_WIDTH))),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeElapsedColumn(),
        )
        self._campaigns: dict[str, TaskID] = {
            kind: self._bars.add_task(f"{kind} upgrades", total=devices, start=False)
            for kind in (SOFTWARE, FIRMWARE)
        }
        self._news = self._bars.add_task("notifications", total=None, start=False)
        self._live = Live(Group(self._bars, self._line), console=err(), refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        if self._moves:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._moves:
            self._live.stop()

    def say(self, text: str) -> None:
        """What happens now."""
        err().print(f"  {text}", markup=False)

    def campaign(self, kind: str) -> None:
        """The upgrades of this kind begin."""
        self._bars.start_task(self._campaigns[kind])
        self._bars.start_task(self._news)

    def show(self, *, ended: dict[str, int], failed: int, due: int, heard: int, kills: int) -> None:
        """How far everything is."""
        for kind, bar in self._campaigns.items():
            self._bars.update(bar, completed=ended[kind])
        self._bars.update(self._news, total=max(due, heard) or None, completed=heard)
        told = f"  {failed} upgrades failed, as they should"
        if self._kills:
            told += f"; the platform was killed {counted(kills, 'time')}"
        self._line.plain = told


def summary(facts: Sequence[tuple[str, object]], *, good: bool) -> None:
    """The end of the story."""
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        err().print(f"  {name.ljust(width)}  {value}", markup=False)
    if good:
        err().print("[bold green]Nothing was lost, out of order or forged.[/]")
    else:
        err().print("[bold red]A promise was broken: see the numbers above.[/]")
