"""One action on its way through a device."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Mapping
from dataclasses import dataclass

from fleetbell.cli.simulation.ledger import Did, Ledger
from fleetbell.cli.simulation.line import Answered, Line
from fleetbell.cli.simulation.wire import Artifact, Chunk


class Failure(enum.Enum):
    """How an upgrade goes wrong on a device: the code and the words it reports."""

    NO_SPACE = (3, "not enough free space for the package")
    DAMAGED = (5, "the package is damaged")
    INSTALL = (10, "the installer ended with status 1")

    def __init__(self, code: int, words: str) -> None:
        self.code = code
        self.words = words


class PowerCut(enum.Enum):
    """When the power goes."""

    DOWNLOADING = enum.auto()
    DOWNLOADED = enum.auto()
    UPDATING = enum.auto()


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to one device in one upgrade."""

    failure: Failure | None = None
    power_cut: PowerCut | None = None
    bytes_per_s: int | None = None
    twice: bool = False  # every report is sent twice


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How all devices of a fleet behave."""

    poll_s: float | None = None  # None: as the platform asks
    install_s: float = 0.05  # between "proceeding" and the end
    off_s: float = 1.0  # how long a device without power is away
    again_s: float = 0.5  # about this long before a call that did not get through is tried again


class PowerLost(Exception):
    """The device is off; all that it held in memory is gone."""


class Upgrade:
    """One try at one action: download, check, proceed, close."""

    def __init__(
        self,
        action_id: str,
        chunk: Chunk,
        href: str,
        *,
        node_id: str,
        line: Line,
        ledger: Ledger,
        fate: Fate,
        manners: Manners,
    ) -> None:
        self._action_id = action_id
        self._chunk = chunk
        self._feedback = f"{href}/feedback"
        self._node_id = node_id
        self._line = line
        self._ledger = ledger
        self._fate = fate
        self._manners = manners

    async def run(self) -> Did:
        """How it ended: success, failure, or gone.

        Raises:
            PowerLost: the device begins anew.
        """
        failure = self._fate.failure
        if failure is Failure.NO_SPACE:
            return await self._close(failure.code, failure.words)
        for artifact in self._chunk.artifacts:
            found = await self._download(artifact)
            if isinstance(found, int):
                return self._note(Did.GONE, f"the download was answered {found}")
            if found != (artifact.size, artifact.hashes["sha256"]):
                return await self._close(5, f"{found[0]} bytes with SHA-256 {found[1]} came")
        if failure is Failure.DAMAGED:
            return await self._close(failure.code, failure.words)
        answered = await self._report(feedback(self._action_id, "proceeding", "none"))
        if answered.status != 200:
            return self._note(Did.GONE, f"proceeding was answered {answered.status}")
        self._note(Did.UPDATING, sent_ns=answered.sent_ns)
        self._power(PowerCut.UPDATING)
        await asyncio.sleep(self._manners.install_s)
        if failure is not None:
            return await self._close(failure.code, failure.words)
        return await self._close()

    async def _download(self, artifact: Artifact) -> tuple[int, str] | int:
        """Size and SHA-256 of what came, or the status of a refusal."""

        def begun() -> None:
            self._note(Did.DOWNLOADING)

        def came(size: int) -> None:
            if size >= artifact.size // 2:
                self._power(PowerCut.DOWNLOADING)

        found = await self._line.download(
            artifact.href, begun=begun, came=came, bytes_per_s=self._fate.bytes_per_s
        )
        if not isinstance(found, int):
            self._note(Did.DOWNLOADED)
            self._power(PowerCut.DOWNLOADED)
        return found

    async def _close(self, code: int = 0, words: str = "") -> Did:
        finished = "failure" if code else "success"
        report = feedback(self._action_id, "closed", finished, code=code, words=words)
        answered = await self._report(report)
        if answered.status != 200:
            return self._note(Did.GONE, f"closed was answered {answered.status}")
        return self._note(Did.FAILURE if code else Did.SUCCESS, words, sent_ns=answered.sent_ns)

    async def _report(self, body: Mapping[str, object]) -> Answered:
        answered = await self._line.send("POST", self._feedback, body)
        if self._fate.twice:
            await self._line.send("POST", self._feedback, body)
        return answered

    def _power(self, at: PowerCut) -> None:
        if self._fate.power_cut is at:
            self._note(Did.POWER_LOST, at.name.lower())
            raise PowerLost

    def _note(self, did: Did, detail: str = "", *, sent_ns: int = 0) -> Did:
        self._ledger.note(
            self._node_id,
            did,
            action_id=self._action_id,
            version=self._chunk.version,
            detail=detail,
            sent_ns=sent_ns,
        )
        return did


def feedback(
    action_id: str, execution: str, finished: str, *, code: int = 0, words: str = ""
) -> dict[str, object]:
    """The body of a report, as agents send it."""
    status: dict[str, object] = {"execution": execution, "result": {"finished": finished}}
    if code:
        status["code"] = code
    if words:
        status["details"] = [words]
    return {"id": action_id, "status": status}
