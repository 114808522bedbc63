"""How near the end of a certificate is, and when that is worth a warning."""

from __future__ import annotations

import enum
from typing import Final

DAY_MS: Final = 86_400_000


class CertificateWarning(enum.StrEnum):
    """What to warn of; each one asks for more hurry than the one before."""

    MONTH = "30 days or less"
    WEEK = "7 days or less"
    DAY = "1 day or less"
    EXPIRED = "expired"


def certificate_warning(ends_ms: int, *, at_ms: int) -> CertificateWarning | None:
    """The warning that a certificate deserves which ends at ``ends_ms``; None while there is time.

    >>> certificate_warning(7 * DAY_MS, at_ms=0)
    <CertificateWarning.WEEK: '7 days or less'>
    >>> certificate_warning(31 * DAY_MS, at_ms=0) is None
    True
    """
    left_ms = ends_ms - at_ms
    if left_ms <= 0:
        return CertificateWarning.EXPIRED
    if left_ms <= DAY_MS:
        return CertificateWarning.DAY
    if left_ms <= 7 * DAY_MS:
        return CertificateWarning.WEEK
    if left_ms <= 30 * DAY_MS:
        return CertificateWarning.MONTH
    return None


def days_left(ends_ms: int, *, at_ms: int) -> int:
    """Whole days until the end; below zero when it is over.

    >>> days_left(DAY_MS + 1, at_ms=0), days_left(DAY_MS - 1, at_ms=0), days_left(0, at_ms=1)
    (1, 0, -1)
    """
    return (ends_ms - at_ms) // DAY_MS
