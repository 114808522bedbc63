"""Creating, querying, listing and stopping upgrade tasks at the fake platform."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from fleetbell_sdk.testing.fake.call import Body, Call, own, page, read_time_s, route
from fleetbell_sdk.testing.fake.door import Answer
from fleetbell_sdk.testing.fake.fleet import PRODUCT, Device, Fleet, Json, Package, Task
from fleetbell_sdk.testing.fake.refusals import UPGRADES, Refused
from fleetbell_sdk.testing.story import Kind

_NAMES_MOST: Final = 256  # devices or groups that one task may name


@route("POST", "/iodm/northbound/v1.5.0/operations/softwareUpgrade", UPGRADES)
def create_software_task(fleet: Fleet, call: Call) -> Answer:
    """Start a software upgrade."""
    return _create_task(fleet, call, "software")


@route("POST", "/iodm/northbound/v1.5.0/operations/firmwareUpgrade", UPGRADES)
def create_firmware_task(fleet: Fleet, call: Call) -> Answer:
    """Start a firmware upgrade."""
    return _create_task(fleet, call, "firmware")


def _create_task(fleet: Fleet, call: Call, kind: Kind) -> Answer:
    body = call.body("fileId targets policy")
    targets = body.inner("targets", "devices deviceGroups deviceType model manufacturerName")
    policy = body.inner("policy", "executeType startTime endTime retryType retryTimes")
    named, groups = targets.texts("devices"), targets.texts("deviceGroups")
    product = {name: targets.text(name) for name in PRODUCT}
    if bool(named) == bool(groups):
        raise Refused("123023" if named else "123022", "name devices or groups, and not both")
    if max(len(named), len(groups)) > _NAMES_MOST:
        raise Refused("123024", f"a task takes {_NAMES_MOST}, so make several tasks")
    _check_groups(fleet, groups, product)
    package = own(fleet.packages, body.text("fileId"), "123002")
    if package.kind != kind:
        raise call.wrong(f"the package has {package.kind}, and the task is for {kind}")
    devices = [own(fleet.devices, device_id, "123002") for device_id in named]
    devices += _members(fleet, groups, tuple(product.values()))
    _check_fit(package, devices)
    has_policy = "policy" in body.values
    task = Task(
        operation_id=fleet.new_id("op"),
        package=package,
        targets={
            "deviceGroups": list(groups) or None,
            "deviceType": product["deviceType"] if groups else None,
            "model": product["model"] if groups else None,
            "manufacturerName": product["manufacturerName"] if groups else None,
            "devices": list(named) or None,
        },
        policy=_given(policy) if has_policy else None,
        retries_left=_retries(fleet, policy) if has_policy else 0,
        made_s=fleet.now_s(),
    )
    fleet.begin(task, devices)
    return Answer(200, {"operationId": task.operation_id})


def _check_groups(fleet: Fleet, names: Sequence[str], product: Mapping[str, str]) -> None:
    for code, name in (("123019", "manufacturerName"), ("123020", "deviceType"), ("123021", "model")):
        if names and not product[name]:
            raise Refused(code, f"groups need the {name} of their devices")
    known = {each.name for each in fleet.groups.values()}
    if not known.issuperset(names):
        raise Refused("123027", f"there is no group {min(set(names) - known)!r}")


def _members(fleet: Fleet, names: Sequence[str], product: tuple[str, ...]) -> list[Device]:
    """The devices of this product in the groups. Raises Refused when groups are named, and none is there."""
    members = {
        device_id for group in fleet.groups.values() if group.name in names for device_id in group.device_ids
    }
    found = [
        each for each in fleet.devices.values() if each.device_id in members and each.product() == product
    ]
    if names and not found:
        raise Refused("123016", f"no device in the groups is {' '.join(product)}; nothing was started")
    return found


def _given(policy: Body) -> Json:
    """The policy as a query shows it: as it was given, with its number and its flag as such."""
    read: Json = {
        "retryType": policy.flag("retryType", policy.call.family.bad_input),
        "retryTimes": policy.number("retryTimes"),
    }
    return {name: read.get(name, value) for name, value in policy.values.items()}


def _retries(fleet: Fleet, policy: Body) -> int:
    """How often what fails is tried again. Raises Refused for a policy that cannot be."""
    if policy.text("executeType") not in {"now", "device_online", "custom"}:
        raise Refused("123025", "executeType must be one of now, device_online, custom")
    if policy.text("executeType") == "custom":
        begin_s, end_s = (_time(policy, name) for name in ("startTime", "endTime"))
        if begin_s > end_s:
            raise Refused("123032", "startTime is after endTime; exchange them")
        if begin_s < int(fleet.now_s()):
            raise Refused("123033", "startTime has passed; name a time to come, or use executeType now")
        if end_s - begin_s < 300:
            raise Refused("123034", "endTime must be at least 5 minutes after startTime")
    if not policy.flag("retryType", policy.call.family.bad_input):
        return 0
    times = policy.number("retryTimes")
    if times is None or not 1 <= times <= 5:
        raise Refused("123028", "retryTimes must be 1 to 5 when retryType is true")
    return times


@route(
    "GET",
    "/iodm/northbound/v1.5.0/operations",
    UPGRADES,
    "operationType operationStatus deviceId manufacturerName deviceType model pageNo pageSize",
)
def list_tasks(fleet: Fleet, call: Call) -> Answer:
    """List tasks, the newest first."""
    kind = call.word("operationType", ("software_upgrade", "firmware_upgrade"))
    status = call.word("operationStatus", ("wait", "processing", "success", "failed", "stop"))
    found = [
        each
        for each in reversed(fleet.tasks.values())
        if kind in {"", f"{each.package.kind}_upgrade"}
        and status in {"", each.status()}
        and call.text("deviceId") in {"", *(sub.share.device_id for sub in each.subs)}
        and all(call.text(name) in {"", each.package.words[name]} for name in PRODUCT)
    ]
    return page(call, "data", found)


@route("GET", "/iodm/northbound/v1.5.0/operations/{id}", UPGRADES)
def task(fleet: Fleet, call: Call) -> Answer:
    """Show one task."""
    return Answer(200, own(fleet.tasks, call.parts[0], "123009").shown())


@route(
    "GET",
    "/iodm/northbound/v1.5.0/operations/{id}/subOperations",
    UPGRADES,
    "subOperationStatus pageNo pageSize",
)
def list_sub_tasks(fleet: Fleet, call: Call) -> Answer:
    """List the sub tasks of a task."""
    status = call.word("subOperationStatus", ("wait", "processing", "success", "fail", "stop"))
    subs = own(fleet.tasks, call.parts[0], "123009").subs
    numbers, found = call.page([each for each in subs if status in {"", each.status}])
    return Answer(200, {**numbers, "data": [each.shown() for each in found]})


@route("POST", "/iodm/northbound/v1.5.0/operations/{id}/stop", UPGRADES)
def stop_task(fleet: Fleet, call: Call) -> Answer:
    """Stop a task."""
    task = own(fleet.tasks, call.parts[0], "123009")
    fleet.stop(task)
    return Answer(200, {"operationId": task.operation_id})


def _check_fit(package: Package, devices: Iterable[Device]) -> None:
    """Raises Refused when the package is made for another product; an empty part of it fits every device."""
    for device in devices:
        parts = zip(package.product(), device.product(), strict=True)
        if any(wanted and wanted != had for wanted, had in parts):
            raise Refused("123016", f"the package is for another product than device {device.device_id}")


def _time(policy: Body, name: str) -> int:
    try:
        return read_time_s(policy.text(name))
    except ValueError as error:
        raise Refused("123026", f"{name} must be a UTC time such as 20261120T100000Z") from error
