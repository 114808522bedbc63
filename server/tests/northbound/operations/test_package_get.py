"""Showing one package on the wire."""

from server.tests.northbound.door import CATEGORY, Door, fit
from server.tests.northbound.operations.makers import PACKAGE_CONTENT, PACKAGE_FIELDS


async def test_a_query_shows_the_documented_fields_only(door: Door) -> None:
    uploaded = fit(
        await door.call("POST", CATEGORY, data=PACKAGE_FIELDS, files={"file": ("a.swu", PACKAGE_CONTENT)})
    )

    answer = fit(await door.call("GET", f"{CATEGORY}/{uploaded['fileId']}"))

    documented = {
        name: value for name, value in uploaded.items() if name not in ("size", "sha256", "sha1", "md5")
    }
    assert answer == documented
