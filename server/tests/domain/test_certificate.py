"""When the end of a certificate is worth a warning."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetbell.domain.certificate import DAY_MS, CertificateWarning, certificate_warning, days_left

LEVELS = [None, *CertificateWarning]


@pytest.mark.parametrize(
    ("left_ms", "warning"),
    [
        (365 * DAY_MS, None),
        (30 * DAY_MS + 1, None),
        (30 * DAY_MS, CertificateWarning.MONTH),
        (7 * DAY_MS + 1, CertificateWarning.MONTH),
        (7 * DAY_MS, CertificateWarning.WEEK),
        (DAY_MS + 1, CertificateWarning.WEEK),
        (DAY_MS, CertificateWarning.DAY),
        (1, CertificateWarning.DAY),
        (0, CertificateWarning.EXPIRED),
        (-DAY_MS, CertificateWarning.EXPIRED),
    ],
)
def test_the_warning_gets_stronger_at_30_7_and_1_day_and_at_the_end(
    left_ms: int, warning: CertificateWarning | None
) -> None:
    at_ms = 1_800_000_000_000

    assert certificate_warning(at_ms + left_ms, at_ms=at_ms) is warning


@given(st.integers(0, 2**42), st.lists(st.integers(0, 2**42), min_size=2))
def test_a_warning_never_gets_weaker_while_time_passes(ends_ms: int, moments: list[int]) -> None:
    warnings = [LEVELS.index(certificate_warning(ends_ms, at_ms=at_ms)) for at_ms in sorted(moments)]

    assert warnings == sorted(warnings)


@given(st.integers(0, 2**42), st.integers(0, 2**42))
def test_it_is_over_exactly_when_no_day_is_left(ends_ms: int, at_ms: int) -> None:
    assert (days_left(ends_ms, at_ms=at_ms) < 0) == (at_ms > ends_ms)
