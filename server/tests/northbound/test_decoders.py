"""Whatever bytes come, every decoder of the door reads them or refuses them, and does nothing else."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetbell.clock import read_wire_time, wire_time
from fleetbell.errors import InputInvalid, PageInvalid
from fleetbell.northbound.call import Query, _json
from fleetbell.northbound.form import Field, FileBegins, FileBytes, Form, Piece

unhurried = settings(deadline=None)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@unhurried
@given(VALUES)
def test_what_json_can_say_is_read_as_it_was_said(value: object) -> None:
    assert _json(json.dumps(value).encode()) == value
    assert _json(json.dumps(value, ensure_ascii=False, indent=1).encode()) == value


@unhurried
@given(st.binary(max_size=200) | st.text('[]{},:"\\u0123456789eE+-.nulltrfasN ', max_size=60).map(str.encode))
def test_other_bytes_are_json_or_refused(body: bytes) -> None:
    try:
        value = _json(body)
    except InputInvalid:
        return
    json.dumps(value, ensure_ascii=False).encode()
    assert not (isinstance(value, float) and math.isnan(value))


@unhurried
@given(st.binary(max_size=100) | st.text("&=?%+;abpageNo0123456789", max_size=60).map(str.encode))
def test_any_query_is_read_or_refused(raw: bytes) -> None:
    query = Query.parse(raw)

    for name in ("a", "b", "pageNo"):
        with_refusal(lambda name=name: query.text(name))
        with_refusal(lambda name=name: query.urls(name, most=50))
        with_refusal(lambda name=name: query.time(name))
        with_refusal(lambda name=name: query.one_of(name, {"a": 1}))
    with_refusal(query.page)


def with_refusal(read: object) -> None:
    """Read; the two refusals are fine."""
    assert callable(read)
    try:
        read()
    except (InputInvalid, PageInvalid):
        return


@unhurried
@given(st.integers(0, 253_402_300_799))
def test_a_time_is_read_as_it_is_written(at_s: int) -> None:
    written = wire_time(at_s * 1000)

    assert written is not None
    assert read_wire_time(written) == at_s * 1000


@unhurried
@given(st.text(max_size=20) | st.from_regex(r"[0-9]{8}T[0-9]{6}Z", fullmatch=True))
def test_another_text_is_a_time_or_none(text: str) -> None:
    try:
        at_ms = read_wire_time(text)
    except ValueError:
        return
    assert wire_time(at_ms) == text


LATIN = st.characters(max_codepoint=255)  # what a header can have
HEADERS = st.text(LATIN, max_size=40)
FORM = (
    b'--XY\r\nContent-Disposition: form-data; name="version"\r\n\r\n2.0\r\n'
    b'--XY\r\nContent-Disposition: form-data; name="file"; filename="a.swu"\r\n\r\n'
    b"--XY is no boundary here\r\n-\r\n--XY--\r\n"
)


def read(body: bytes, cuts: list[int]) -> tuple[list[Piece], bool]:
    """The pieces of a form that arrives in parts; the bytes of its file come together."""
    form, pieces, content = Form("multipart/form-data; boundary=XY"), list[Piece](), b""
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    for start, end in zip(places, places[1:], strict=False):
        for piece in form.feed(body[start:end]):
            if isinstance(piece, FileBytes):
                content += piece.chunk
            else:
                pieces.append(piece)
    return [*pieces, FileBytes(content)], form.complete


@unhurried
@given(st.lists(st.integers(0, len(FORM)), max_size=8))
def test_a_form_is_the_same_however_it_is_cut_on_its_way(cuts: list[int]) -> None:
    expected = [Field("version", "2.0"), FileBegins("a.swu"), FileBytes(b"--XY is no boundary here\r\n-")]

    assert read(FORM, cuts) == (expected, True)


@unhurried
@given(
    st.lists(st.tuples(st.integers(0, len(FORM) - 1), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, len(FORM)),
    st.lists(st.integers(0, len(FORM)), max_size=4),
)
def test_a_broken_form_is_refused_or_not_complete_or_a_form(
    changes: list[tuple[int, int]], length: int, cuts: list[int]
) -> None:
    body = bytearray(FORM)
    for place, byte in changes:
        body[place] = byte
    try:
        pieces, complete = read(bytes(body[:length]), cuts)
    except InputInvalid:
        return
    assert not complete or pieces


@pytest.mark.parametrize("kind", ["", "multipart/form-data", "multipart/form-data; boundary=" + "x" * 300])
def test_a_form_without_a_good_boundary_is_refused(kind: str) -> None:
    with pytest.raises(InputInvalid):
        Form(kind)


@unhurried
@given(HEADERS | st.from_regex(r"multipart/form-data; ?boundary=.{0,10}", fullmatch=True, alphabet=LATIN))
def test_any_content_type_is_a_form_or_refused(kind: str) -> None:
    try:
        Form(kind).feed(b"--x\r\n")
    except InputInvalid:
        return
