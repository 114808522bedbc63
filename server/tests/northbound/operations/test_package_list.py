"""Listing packages on the wire."""

from fleetbell.domain.device import Product
from fleetbell.domain.subtask import UpgradeKind
from server.tests.northbound.door import CATEGORY, Door, fit, refused


async def test_packages_are_listed_by_every_filter(door: Door) -> None:
    one = await door.house.package(version="1", product=Product("Acme", "Water Meter", "WM10"))
    two = await door.house.package(version="2", kind=UpgradeKind.FIRMWARE)
    await door.house.package(application_id="app-2")

    async def found(**filters: str) -> list[str]:
        return [item["fileId"] for item in fit(await door.call("GET", CATEGORY, params=filters))["data"]]

    assert await found() == [one.file_id, two.file_id]
    assert await found(fileType="firmwarePackage") == [two.file_id]
    assert await found(version="1") == [one.file_id]
    assert await found(manufacturerName="Acme", deviceType="Water Meter", model="WM10") == [one.file_id]
    assert await found(model="WM11") == []


async def test_a_page_of_packages_says_which_it_is(door: Door) -> None:
    packages = [await door.house.package(version=str(number)) for number in range(3)]

    page = fit(await door.call("GET", f"{CATEGORY}?pageNo=1&pageSize=2"))

    assert list(page) == ["data", "pageNo", "pageSize", "totalCount"]
    assert [item["fileId"] for item in page["data"]] == [packages[2].file_id]
    assert (page["pageNo"], page["pageSize"], page["totalCount"]) == (1, 2, 3)
    refused(await door.call("GET", f"{CATEGORY}?pageSize=101"), 400, "123029")
    refused(await door.call("GET", f"{CATEGORY}?fileType=zip"), 400, "120015")
