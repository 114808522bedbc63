"""Whatever bytes a device sends, the codec reads them or refuses them, and does nothing else."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from fleetbell.errors import InputInvalid
from fleetbell.southbound.ddi.artifact import RangeUnsatisfiable, asked_span
from fleetbell.southbound.ddi.codec import read_config_data, read_feedback

unhurried = settings(deadline=None)

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)
WORDS = st.sampled_from(["closed", "proceeding", "canceled", "download", "downloaded", "x", None, 1])
FEEDBACK = st.fixed_dictionaries(
    {},
    optional={
        "id": ANY,
        "status": ANY
        | st.fixed_dictionaries(
            {"execution": WORDS},
            optional={
                "result": ANY | st.fixed_dictionaries({"finished": st.sampled_from(["success", "none", 1])}),
                "code": ANY,
                "details": ANY,
            },
        ),
    },
)
CONFIG = st.fixed_dictionaries(
    {"data": ANY | st.dictionaries(st.text(max_size=6), st.text(max_size=6) | st.none(), max_size=4)},
    optional={"mode": st.sampled_from(["merge", "replace", "remove", "x", None])},
)


@unhurried
@given(st.binary(max_size=200) | FEEDBACK.map(lambda body: json.dumps(body).encode("utf-8", "surrogatepass")))
def test_any_feedback_is_read_or_refused(body: bytes) -> None:
    try:
        said = read_feedback(body)
    except InputInvalid:
        return
    assert len(said.note) <= 1000
    said.note.encode()


@unhurried
@given(st.binary(max_size=200) | CONFIG.map(lambda body: json.dumps(body).encode("utf-8", "surrogatepass")))
def test_any_config_data_is_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(InputInvalid):
        read_config_data(body)


@unhurried
@given(
    st.text(max_size=30) | st.from_regex(r"bytes=[0-9]{0,20}-?[0-9]{0,20}", fullmatch=True),
    st.integers(1, 1000),
)
def test_any_range_is_a_part_of_the_file_or_all_of_it_or_refused(header: str, size: int) -> None:
    try:
        span = asked_span(header, size)
    except RangeUnsatisfiable:
        return
    assert span is None or 0 <= span.first < span.end <= size
