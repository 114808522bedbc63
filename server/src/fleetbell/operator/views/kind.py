"""The words for the two kinds of upgrade."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from fleetbell.domain.subtask import UpgradeKind

Kind = Literal["software", "firmware"]
KINDS: Final[Mapping[UpgradeKind, Kind]] = {
    UpgradeKind.SOFTWARE: "software",
    UpgradeKind.FIRMWARE: "firmware",
}
