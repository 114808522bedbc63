"""Everything that can become of an upgrade on a device, by name, with the result that the application gets.

The codes and words of failures are the result codes of the southbound contract (4.4 and 5.4), which a device
sends in its report and the platform hands on as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fleetbell.cli.simulation.upgrade import Failure, Fate, Moment, OnCancel, Reboot
from fleetbell.domain.subtask import (
    DOWNLOAD_TIMEOUT,
    ONLINE_TIMEOUT,
    RESULT_TIMEOUT,
    Ended,
    failed_by_platform,
    failed_on_device,
    stopped,
    succeeded,
)

UNNAMED_CODE: Final = "10"  # what a failure without a code of its own counts as
UNNAMED_WORDS: Final = "installation failed"
SLOW_BYTES_PER_S: Final = 50_000


@dataclass(frozen=True, slots=True)
class KnownFate:
    """A fate with a name, and how it ends for the application."""

    name: str
    told: str
    fate: Fate
    ended: Ended

    @property
    def result(self) -> str:
        """The result message in short.

        >>> KNOWN_FATES["low-battery"].result, KNOWN_FATES["success"].result
        ('FAIL 4, battery low', 'SUCCESS')
        """
        if self.ended.error_code == "0":
            return "SUCCESS"
        return f"FAIL {self.ended.error_code}, {self.ended.description}"


def fails(name: str, told: str, code: int | None, words: str, *, at: Moment) -> KnownFate:
    """The fate of a device that reports a failure. Without code and words it counts as code 10."""
    ended = failed_on_device(str(code) if code else UNNAMED_CODE, words or UNNAMED_WORDS)
    return KnownFate(name, told, Fate(failure=Failure(at, code, words)), ended)


def _goes_well(name: str, told: str, fate: Fate) -> KnownFate:
    return KnownFate(name, told, fate, succeeded())


def _times_out(name: str, told: str, fate: Fate, reason: str) -> KnownFate:
    return KnownFate(name, told, fate, failed_by_platform(reason))


_ALL: Final = (
    _goes_well("success", "installs what it is offered", Fate()),
    _goes_well("slow", "downloads over a slow link", Fate(bytes_per_s=SLOW_BYTES_PER_S)),
    _goes_well("resumed-download", "loses its connection, goes on at that byte", Fate(breaks_off=True)),
    _goes_well("power-lost-downloading", "loses power, downloads again", Fate(power_cut=Moment.DOWNLOADING)),
    _goes_well("power-lost-updating", "loses power, begins again", Fate(power_cut=Moment.UPDATING)),
    _goes_well("duplicate-reports", "sends every report twice", Fate(twice=True)),
    _goes_well("unknown-words", "tells of a status that DDI does not have", Fate(drivels=True)),
    _goes_well("second-thoughts", "reports a failure after its success", Fate(contradicts=True)),
    _goes_well(
        "rollback-after-success",
        "goes back to its old version after its success",
        Fate(reboot=Reboot.OLD_VERSION_LATER),
    ),
    fails("device-in-use", "has no time", 1, "device in use", at=Moment.OFFERED),
    fails("poor-signal", "has a poor signal", 2, "poor signal", at=Moment.OFFERED),
    fails("already-newest", "has it already", 3, "already the newest version", at=Moment.OFFERED),
    fails("low-battery", "has a low battery", 4, "battery low", at=Moment.OFFERED),
    fails("no-space", "has no room for the package", 5, "storage short", at=Moment.OFFERED),
    fails("download-timed-out", "gives its download up", 6, "download timed out", at=Moment.DOWNLOADING),
    fails("wrong-checksum", "finds the package damaged", 7, "package check failed", at=Moment.DOWNLOADED),
    fails("wrong-type", "cannot use such a package", 8, "package type not supported", at=Moment.DOWNLOADED),
    fails("no-memory", "runs out of memory", 9, "memory short", at=Moment.DOWNLOADING),
    fails("install-failed", "cannot install it", 10, "installation failed", at=Moment.UPDATING),
    fails("internal-error", "fails by its own fault", 255, "internal error", at=Moment.UPDATING),
    fails("own-code", "fails with a code of its maker", 4711, "the valve is stuck", at=Moment.UPDATING),
    fails("no-code", "fails and does not say why", None, "", at=Moment.UPDATING),
    KnownFate(
        "rollback",
        "installs, boots, and goes back to its old version",
        Fate(
            failure=Failure(Moment.UPDATING, 10, "it did not start; rolled back"), reboot=Reboot.OLD_VERSION
        ),
        failed_on_device("10", "it did not start; rolled back"),
    ),
    _times_out("silent", "is never heard of", Fate(silent=True), ONLINE_TIMEOUT),
    _times_out("rejects", "says no, and nothing more", Fate(rejects=True), DOWNLOAD_TIMEOUT),
    _times_out(
        "dies-downloading",
        "loses power for good",
        Fate(power_cut=Moment.DOWNLOADING, power_back=False),
        DOWNLOAD_TIMEOUT,
    ),
    _times_out(
        "dies-updating",
        "loses power for good",
        Fate(power_cut=Moment.UPDATING, power_back=False),
        RESULT_TIMEOUT,
    ),
    _times_out(
        "late-report",
        "reports its success after the time-out",
        Fate(until_cancelled=OnCancel.REPORTS),
        RESULT_TIMEOUT,
    ),
    KnownFate(
        "cancel-accepted",
        "installs until somebody stops the task",
        Fate(until_cancelled=OnCancel.ACCEPTS),
        stopped(),
    ),
    KnownFate(
        "cancel-refused",
        "does not let itself be stopped",
        Fate(until_cancelled=OnCancel.REFUSES),
        stopped(),
    ),
)

KNOWN_FATES: Final[Mapping[str, KnownFate]] = {known.name: known for known in _ALL}
