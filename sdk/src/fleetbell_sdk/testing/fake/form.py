"""The form of an upload, as the fake platform reads it: whole, in memory."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

from fleetbell_sdk.testing.fake.door import Request

__all__ = ["Form"]

_BOUNDARY = re.compile(r'multipart/form-data;.*boundary="?([^";]+)"?', re.IGNORECASE)
_DESCRIPTION = "DM/linux/UpgradeDesc.json"


@dataclass(frozen=True, slots=True)
class Form:
    """Its fields, and its one file."""

    fields: Mapping[str, str]
    file_name: str
    file: bytes

    @classmethod
    def read(cls, request: Request) -> Form | None:
        """The form in a request; None when there is none, or no file in it."""
        found = _BOUNDARY.match(request.headers.get("content-type", ""))
        if found is None:
            return None
        fields, files = dict[str, str](), list[tuple[str, bytes]]()
        for part in (b"\r\n" + request.body).split(b"\r\n--" + found[1].encode())[1:-1]:
            head, _, content = part.partition(b"\r\n\r\n")
            names = dict(re.findall(r'(\w+)="([^"]*)"', head.decode("utf-8", "replace")))
            if "filename" in names:
                files.append((names["filename"], content))
            else:
                fields[names.get("name", "")] = content.decode("utf-8", "replace")
        return cls(fields, *files[0]) if len(files) == 1 else None

    @property
    def is_software_zip(self) -> bool:
        """Whether the file is a zip that says itself what it is."""
        if not zipfile.is_zipfile(io.BytesIO(self.file)):
            return False
        with zipfile.ZipFile(io.BytesIO(self.file)) as packed:
            return _DESCRIPTION in packed.namelist()
