"""What the tests of several operations make first, or look at afterwards."""

from typing import Any

import httpx2

from fleetbell.testing.makers import STATE_CHANGE, a_notification
from server.tests.northbound.door import GROUPS, LOGIN, NOTIFICATIONS, SOFTWARE, Door, fit


async def login(door: Door, **form: str) -> httpx2.Response:
    return await door.client.post(LOGIN, data={"appId": "app-1", "secret": door.secrets["app-1"], **form})


async def subscribed(door: Door, *pairs: tuple[str, str]) -> None:
    for notify_type, url in pairs:
        await door.house.subscriptions.subscribe("app-1", notify_type, url)


async def a_group(door: Door, name: str = "hall", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = fit(await door.call("POST", GROUPS, json={"name": name, **more}))
    return made


async def device_ids(door: Door, *node_ids: str) -> list[str]:
    return [(await door.house.device(name)).device_id for name in node_ids]


PACKAGE_FIELDS = {
    "fileType": "softwarePackage",
    "version": "V1.1.10",
    "name": "meter",
    "deviceType": "WaterMeter",
    "model": "WM10",
    "manufacturerName": "Acme",
    "protocolType": "DDI",
    "description": "Reads \N{GREEK SMALL LETTER MU}l",
}
PACKAGE_CONTENT = bytes(range(256)) * 8 + b"\r\n--X\r\n--X--\r\n"


def package_files(door: Door) -> list[str]:
    return [path.name for path in (door.house.folder / "packages").iterdir()]


async def a_task(door: Door, *, count: int = 2, policy: Any = None) -> tuple[str, list[str]]:
    """A software task for new devices: its id and theirs."""
    package = await door.house.package(version="V1.1.0")
    ids = [(await door.house.device(f"meter-{number}")).device_id for number in range(count)]
    body = {"fileId": package.file_id, "targets": {"devices": ids}, "policy": policy}
    return fit(await door.call("POST", SOFTWARE, json=body))["operationId"], ids


async def make_notifications(
    door: Door, *bodies: str, by: str = "app-1", notify_type: str = STATE_CHANGE
) -> None:
    made = [
        a_notification(body, application_id=by, notify_type=notify_type, device_id=f"dev-{body}")
        for body in bodies
    ]
    await door.house.store.write(lambda tx: tx.add_notifications(made, take=lambda _: False, at_ms=0))


async def pulled(door: Door, by: str = "app-1", **params: object) -> list[str]:
    found = fit(await door.call("GET", NOTIFICATIONS, by=by, params=params))
    return [item["body"] for item in found["items"]]
