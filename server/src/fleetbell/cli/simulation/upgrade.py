"""One action on its way through a device."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from fleetbell.cli.simulation.ledger import Did, Ledger
from fleetbell.cli.simulation.line import Answered, Line
from fleetbell.cli.simulation.wire import Artifact, Chunk

CHECK_FAILED: Final = 7  # "package check failed" of the result codes
DRIVEL: Final = "rebooting"  # an execution that is not in the protocol


class Moment(enum.StrEnum):
    """How far a device has come when something happens to it."""

    OFFERED = "offered"
    DOWNLOADING = "downloading"  # half of the package is there
    DOWNLOADED = "downloaded"
    UPDATING = "updating"


@dataclass(frozen=True, slots=True)
class Failure:
    """How an upgrade goes wrong on a device: when, and the code and the words that it reports.

    Without a code or words it reports none, as some agents do.
    """

    at: Moment
    code: int | None
    words: str


class OnCancel(enum.Enum):
    """What a device does that is told to give up."""

    ACCEPTS = enum.auto()
    REFUSES = enum.auto()  # and reports its success afterwards
    REPORTS = enum.auto()  # its success, instead of an answer


class Reboot(enum.Enum):
    """What a device finds when it boots what it installed."""

    OLD_VERSION = enum.auto()  # its health check failed, and it reports that
    OLD_VERSION_LATER = enum.auto()  # it goes back after it has reported its success


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What happens to one device in one upgrade; nothing in particular unless said."""

    failure: Failure | None = None
    power_cut: Moment | None = None
    power_back: bool = True
    bytes_per_s: int | None = None
    breaks_off: bool = False  # the download, once, at its half; it is taken up there
    twice: bool = False  # every report is sent twice
    silent: bool = False  # never heard of
    rejects: bool = False  # says so, and does nothing more
    drivels: bool = False  # tells of a status that is not in the protocol, and goes on
    contradicts: bool = False  # says that it failed after it has said that it succeeded
    until_cancelled: OnCancel | None = None  # installs until it is told to give up
    reboot: Reboot | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How all devices of a fleet behave."""

    poll_s: float | None = None  # None: as the platform asks
    install_s: float = 0.05  # between "proceeding" and the end
    off_s: float = 1.0  # how long a device without power is away
    again_s: float = 0.5  # about this long before a call that did not get through is tried again


class PowerLost(Exception):
    """The device is off; all that it held in memory is gone. Perhaps it comes back."""

    def __init__(self, *, back: bool) -> None:
        super().__init__()
        self.back = back


class GivenUp(Exception):
    """The device does not want the rest of a download."""


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
        tell_version: Callable[[], Awaitable[None]],
    ) -> None:
        """``tell_version`` has the device tell which version it runs."""
        self.action_id = action_id
        self.chunk = chunk
        self.fate = fate
        self._feedback = f"{href}/feedback"
        self._node_id = node_id
        self._line = line
        self._ledger = ledger
        self._manners = manners
        self._tell_version = tell_version
        self._broken = False

    async def run(self) -> Did | None:
        """How it ended: success, failure, or gone; None when it goes on until it is told to give up.

        Raises:
            PowerLost: the device begins anew, or never.
        """
        if (end := await self._come_to(Moment.OFFERED)) is not None:
            return end
        if self.fate.rejects:
            await self._report(feedback(self.action_id, "rejected", "none", words="not now, says its owner"))
            return None
        for artifact in self.chunk.artifacts:
            found = await self._download(artifact)
            if found is None:
                return await self._come_to(Moment.DOWNLOADING)
            if isinstance(found, int):
                return self._note(Did.GONE, f"the download was answered {found}")
            if found != (artifact.size, artifact.hashes["sha256"]):
                return await self._close(CHECK_FAILED, f"{found[0]} bytes with SHA-256 {found[1]} came")
        if (end := await self._come_to(Moment.DOWNLOADED)) is not None:
            return end
        if self.fate.drivels:
            await self._report(feedback(self.action_id, DRIVEL, "none"))
        answered = await self._report(feedback(self.action_id, "proceeding", "none"))
        if answered.status != 200:
            return self._note(Did.GONE, f"proceeding was answered {answered.status}")
        self._note(Did.UPDATING, sent_ns=answered.sent_ns)
        return await self._install()

    async def _install(self) -> Did | None:
        self._power(Moment.UPDATING)
        await asyncio.sleep(self._manners.install_s)
        if self.fate.until_cancelled is not None:
            return None
        if self.fate.reboot is Reboot.OLD_VERSION:
            await asyncio.sleep(self._manners.off_s)
            await self._tell_version()
        if (end := await self._come_to(Moment.UPDATING)) is not None:
            return end
        end = await self._close()
        if self.fate.contradicts:
            await self._close(10, "it does not start after all")
        if self.fate.reboot is Reboot.OLD_VERSION_LATER:
            await asyncio.sleep(self._manners.off_s)
            await self._tell_version()
        return end

    async def give_up(self, cancel_feedback: str) -> Did:
        """Answer the wish that the action be given up, as its fate has it; what became of it."""
        match self.fate.until_cancelled:
            case OnCancel.REPORTS:
                return await self._close()
            case OnCancel.REFUSES:
                words = "too late: it is being installed"
                await self._line.send(
                    "POST", cancel_feedback, feedback(self.action_id, "rejected", "none", words=words)
                )
                return await self._close()
            case _:
                report = feedback(self.action_id, "closed", "success")
                answered = await self._line.send("POST", cancel_feedback, report)
                return self._note(Did.CANCELED, f"answered {answered.status}")

    async def _come_to(self, moment: Moment) -> Did | None:
        """End here if it is the fate of this upgrade to fail here."""
        failure = self.fate.failure
        if failure is None or failure.at is not moment:
            return None
        return await self._close(failure.code, failure.words, failed=True)

    async def _download(self, artifact: Artifact) -> tuple[int, str] | int | None:
        """Size and SHA-256 of what came, the status of a refusal, or None when the device gives up."""
        fails = self.fate.failure is not None and self.fate.failure.at is Moment.DOWNLOADING
        stops = fails or self.fate.breaks_off or self.fate.power_cut is Moment.DOWNLOADING
        half = max(1, artifact.size // 2)

        def begun() -> None:
            self._note(Did.DOWNLOADING)

        def came(size: int) -> None:
            if size < half:
                return
            self._power(Moment.DOWNLOADING)
            if fails:
                raise GivenUp
            if self.fate.breaks_off and not self._broken:
                self._broken = True
                raise ConnectionResetError("the connection is lost")

        try:
            found = await self._line.download(
                artifact.href,
                begun=begun,
                came=came,
                bytes_per_s=self.fate.bytes_per_s,
                first_bytes=half if stops else None,
            )
        except GivenUp:
            return None
        if not isinstance(found, int):
            self._note(Did.DOWNLOADED)
            self._power(Moment.DOWNLOADED)
        return found

    async def _close(self, code: int | None = None, words: str = "", *, failed: bool = False) -> Did:
        """Report the end: a failure when it ``failed`` or has a code."""
        failed = failed or code is not None
        finished = "failure" if failed else "success"
        report = feedback(self.action_id, "closed", finished, code=code, words=words)
        answered = await self._report(report)
        if answered.status != 200:
            return self._note(Did.GONE, f"closed was answered {answered.status}")
        return self._note(Did.FAILURE if failed else Did.SUCCESS, words, sent_ns=answered.sent_ns)

    async def _report(self, body: Mapping[str, object]) -> Answered:
        answered = await self._line.send("POST", self._feedback, body)
        if self.fate.twice:
            await self._line.send("POST", self._feedback, body)
        return answered

    def _power(self, at: Moment) -> None:
        if self.fate.power_cut is at:
            self._note(Did.POWER_LOST, at.value)
            raise PowerLost(back=self.fate.power_back)

    def _note(self, did: Did, detail: str = "", *, sent_ns: int = 0) -> Did:
        self._ledger.note(
            self._node_id,
            did,
            action_id=self.action_id,
            version=self.chunk.version,
            detail=detail,
            sent_ns=sent_ns,
        )
        return did


def feedback(
    action_id: str, execution: str, finished: str, *, code: int | None = None, words: str = ""
) -> dict[str, object]:
    """The body of a report, as agents send it."""
    status: dict[str, object] = {"execution": execution, "result": {"finished": finished}}
    if code is not None:
        status["code"] = code
    if words:
        status["details"] = [words]
    return {"id": action_id, "status": status}
