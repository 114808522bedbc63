"""A multipart form, read piece by piece while it arrives; the file in it is never held in memory."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from fleetbell.errors import InputInvalid

_PARTS_MOST = 64
_FIELD_BYTES_MOST = 16 * 1024

logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # a bad form is the caller's business


@dataclass(frozen=True, slots=True)
class Field:
    """A text field, whole."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class FileBegins:
    """The file's part has begun."""

    file_name: str


@dataclass(frozen=True, slots=True)
class FileBytes:
    """More of the file."""

    chunk: bytes


Piece = Field | FileBegins | FileBytes


class Form:
    """Give it the body with :meth:`feed`. At the body's end, :attr:`complete` tells whether it was all."""

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise InputInvalid("the Content-Type must be multipart/form-data with its boundary")
        self.complete = False
        self._pieces: list[Piece] = []
        self._parts = 0
        self._header = b""
        self._value = b""
        self._disposition = b""
        self._field: str | None = None  # the name of the text field that is being read
        self._text = bytearray()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begins,
                    "on_header_field": self._more_header,
                    "on_header_value": self._more_value,
                    "on_header_end": self._header_ends,
                    "on_headers_finished": self._headers_end,
                    "on_part_data": self._more_data,
                    "on_part_end": self._part_ends,
                    "on_end": self._ends,
                },
            )
        except FormParserError as error:
            raise InputInvalid(f"the form's boundary cannot be used: {error}") from error

    def feed(self, chunk: bytes) -> list[Piece]:
        """What ``chunk`` completes. Raises InputInvalid. What follows the form's end is passed over."""
        self._pieces = []
        if chunk:
            try:
                self._parser.write(chunk)
            except FormParserError as error:
                raise InputInvalid(f"the form cannot be read: {error}") from error
        return self._pieces

    def _part_begins(self) -> None:
        self._parts += 1
        if self._parts > _PARTS_MOST:
            raise InputInvalid(f"the form has more than {_PARTS_MOST} parts")
        self._disposition = b""

    def _more_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _more_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        name = _text(options.get(b"name", b""), "the name of a part")
        file_name = options.get(b"filename")
        if name == "file":
            if file_name is None:
                raise InputInvalid("the part named file needs a file name")
            self._field = None
            self._pieces.append(FileBegins(_text(file_name, "the file's name")))
        elif file_name is not None:
            raise InputInvalid(f"the file must come as the part named file, not {name[:80]!r}")
        else:
            self._field = name
            self._text.clear()

    def _more_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._pieces.append(FileBytes(data[start:end]))
            return
        self._text += data[start:end]
        if len(self._text) > _FIELD_BYTES_MOST:
            raise InputInvalid(f"the field {self._field[:80]!r} is longer than {_FIELD_BYTES_MOST} bytes")

    def _part_ends(self) -> None:
        if self._field is not None:
            self._pieces.append(Field(self._field, _text(bytes(self._text), self._field)))

    def _ends(self) -> None:
        self.complete = True


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputInvalid(f"{what[:80]} is not UTF-8") from error
