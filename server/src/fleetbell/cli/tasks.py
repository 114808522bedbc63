"""``fleetbell task``: upgrade tasks made, watched, stopped."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from cyclopts import App
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fleetbell.cli.devices import device_ids
from fleetbell.cli.door import Operator, operator
from fleetbell.cli.place import HERE, PLAIN, Place
from fleetbell.cli.terminal import Failed, ago, ahead, err, print_json, print_table, remark, say
from fleetbell.domain.task import TARGETS_MOST
from fleetbell.operator.views.device import DeviceView
from fleetbell.operator.views.items import Items
from fleetbell.operator.views.package import PackageView
from fleetbell.operator.views.subtask import SubTaskView
from fleetbell.operator.views.task import NewTask, TallyView, TaskStatusWord, TaskView

app = App(name="task", help="Upgrade tasks.", default_parameter=PLAIN)

FAILURES_SHOWN = 10


@app.command
async def create(
    package: str,
    devices: tuple[str, ...] = (),
    *,
    all: bool = False,
    group: list[str] | None = None,
    manufacturer: str = "",
    device_type: str = "",
    model: str = "",
    online: bool = False,
    window: tuple[str, str] | None = None,
    retries: int = 0,
    json: bool = False,
    place: Place = HERE,
) -> None:
    """Upgrade devices with a package, and print the operation id of each task that was made.

    Parameters
    ----------
    package: str
        The id of the package.
    devices: tuple
        Ids or node ids of the devices.
    all: bool
        Every device of the package's application instead.
    group: list
        The devices of this group instead; more than once for several groups. They are of one product, which
        is the package's unless it is named.
    manufacturer: str
        The maker of the devices in the groups.
    device_type: str
        The type of the devices in the groups.
    model: str
        The model of the devices in the groups.
    online: bool
        The policy device_online instead of now. A device that polls takes both with its next poll.
    window: tuple
        From when until when devices may begin, such as 2026-11-20T22:00Z 2026-11-21T04:00Z.
    retries: int
        How often what failed is tried again, at most 5.
    json: bool
        One JSON list instead of lines.
    """
    if bool(devices) + all + bool(group) != 1:
        raise Failed("name the devices to upgrade, or take --all or --group, not both")
    policy = _policy(online, window, retries)
    async with operator(place.settings().settings) as door:
        wanted = await door.get(f"/packages/{package}", PackageView)
        if group:
            tasks = [_for_groups(group, (manufacturer, device_type, model), wanted, policy)]
        else:
            ids = await device_ids(door, wanted.application_id, devices)
            parts = [ids[start : start + TARGETS_MOST] for start in range(0, len(ids), TARGETS_MOST)]
            tasks = [NewTask(file_id=package, device_ids=part, policy=policy) for part in parts]
        path = f"/applications/{wanted.application_id}/tasks"
        made = [await door.post(path, TaskView, task) for task in tasks]
    if json:
        print_json(made)
        return
    for task in made:
        say(task.operation_id)


@app.command
async def watch(*operations: str, interval_s: float = 0.5, json: bool = False, place: Place = HERE) -> int:
    """Follow tasks until they have ended. The exit code is 1 unless every device succeeded.

    Parameters
    ----------
    operations: str
        Operation ids; without any, every task that has not ended.
    interval_s: float
        How often to look.
    json: bool
        One JSON list at the end instead of a bar.
    """
    async with operator(place.settings().settings) as door:
        names = operations or tuple(await _open_tasks(door))
        if not names:
            remark("No task is under way.")
            if json:
                print_json([])
            return 0
        tasks = [await door.get(f"/tasks/{name}", TaskView) for name in names]
        if not door.running and any(task.waits_for != "nothing" for task in tasks):
            raise Failed("no platform is running here, so no task goes on: start one with fleetbell serve")
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[tally]}"),
            TextColumn("{task.fields[waits]}", style="dim"),
            TimeElapsedColumn(),
            console=err(),
            disable=json,
        ) as progress:
            ended = await asyncio.gather(*(_follow(door, task, progress, interval_s) for task in tasks))
        if json:
            print_json(ended)
        else:
            await _print_failures(door, ended)
    return 0 if all(task.tally.success == task.tally.total for task in ended) else 1


@app.command
async def stop(operation: str, *, json: bool = False, place: Place = HERE) -> None:
    """Stop a task: devices that have not ended are told to give up.

    Parameters
    ----------
    operation: str
        The operation id.
    json: bool
        One JSON object instead of a line.
    """
    async with operator(place.settings().settings) as door:
        tally = await door.post(f"/tasks/{operation}/stop", TallyView)
    if json:
        print_json(tally)
    else:
        say(tally_words(tally))


@app.command(name="list")
async def list_(
    *, app: str | None = None, status: TaskStatusWord | None = None, json: bool = False, place: Place = HERE
) -> None:
    """List the tasks, the newest first.

    Parameters
    ----------
    app: str
        Only those of this application.
    status: TaskStatusWord
        Only those that stand there: wait, processing, success, failed or stop.
    json: bool
        One JSON list instead of a table.
    """
    async with operator(place.settings().settings) as door:
        query = await door.only(app)
        if status is not None:
            query = {**query, "status": status}
        found = await door.pages("/tasks", Items[TaskView], query)
    if json:
        print_json(found)
        return
    print_table(
        ("operation id", "kind", "version", "status", "devices", "made", "waits for"),
        [
            (
                each.operation_id,
                each.kind,
                each.target_version,
                each.status,
                tally_words(each.tally),
                ago(each.created_at_ms),
                waits_words(each),
            )
            for each in found
        ],
        empty="There is no task; make one with: fleetbell task create PACKAGE_ID --all",
    )


def tally_words(tally: TallyView) -> str:
    """The tally without its zeros.

    >>> tally_words(TallyView(total=3, wait=0, processing=1, success=2, fail=0, stop=0))
    '1 processing, 2 success'
    """
    names = ("wait", "processing", "success", "fail", "stop")
    words = ", ".join(f"{count} {name}" for name in names if (count := getattr(tally, name))) or "none"
    return f"{words} ({tally.timeout} timed out)" if tally.timeout else words


def waits_words(task: TaskView) -> str:
    """What a task waits for; "" when it has ended."""
    when = "" if task.due_at_ms is None else f" {ahead(task.due_at_ms)}"
    match task.waits_for:
        case "nothing":
            return ""
        case "devices":
            return "its devices"
        case "making":
            return "its sub tasks to be made"
        case "window":
            return f"its window{when}"
        case "retry":
            return f"its retry{when}"
        case "stop":
            return "being stopped"


def _for_groups(
    groups: list[str], named: tuple[str, str, str], package: PackageView, policy: dict[str, object] | None
) -> NewTask:
    """The task for the devices of groups that are this product; what is not named of it the package says."""
    said = (package.manufacturer_name, package.device_type, package.model)
    product = [name or known for name, known in zip(named, said, strict=True)]
    if not all(product):
        raise Failed(
            "a task for groups is for devices of one product, and the package does not say which: "
            "name it with --manufacturer, --device-type and --model"
        )
    manufacturer, device_type, model = product
    return NewTask(
        file_id=package.file_id,
        groups=groups,
        manufacturer_name=manufacturer,
        device_type=device_type,
        model=model,
        policy=policy,
    )


def _policy(online: bool, window: tuple[str, str] | None, retries: int) -> dict[str, object] | None:
    """The policy of these options; None when they are left out."""
    if online and window:
        raise Failed("--online has no window: leave out one of the two")
    policy: dict[str, object] = {"executeType": "device_online" if online else "now"}
    if window:
        starts, ends = map(_wire, window)
        policy = {"executeType": "custom", "startTime": starts, "endTime": ends}
    if retries:
        policy |= {"retryType": True, "retryTimes": retries}
    return policy if online or window or retries else None


def _wire(text: str) -> str:
    """A time as it was typed, in the words of the API."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise Failed(f"--window takes times such as 2026-11-20T22:00Z, not {text!r}") from error
    if time.tzinfo is None:
        raise Failed(f"--window needs the time zone of {text!r}: Z for UTC, or such as +02:00")
    return time.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


async def _open_tasks(door: Operator) -> list[str]:
    found: list[TaskView] = []
    for status in ("wait", "processing"):
        found += await door.pages("/tasks", Items[TaskView], {"status": status})
    return [task.operation_id for task in found]


async def _follow(door: Operator, task: TaskView, progress: Progress, interval_s: float) -> TaskView:
    bar = progress.add_task(f"{task.kind} {task.target_version}", total=task.tally.total, tally="", waits="")
    while True:
        progress.update(
            bar, completed=task.tally.ended, tally=tally_words(task.tally), waits=waits_words(task)
        )
        if task.waits_for == "nothing":
            return task
        await asyncio.sleep(interval_s)
        task = await door.get(f"/tasks/{task.operation_id}", TaskView)


async def _print_failures(door: Operator, ended: list[TaskView]) -> None:
    failed = [
        share
        for task in ended
        for status in ("fail", "stop")
        for share in await door.pages(
            f"/tasks/{task.operation_id}/sub-tasks", Items[SubTaskView], {"status": status}
        )
    ]
    if failed:
        rows = [
            (await _node_id(door, share.device_id), share.status, share.detail)
            for share in failed[:FAILURES_SHOWN]
        ]
        print_table(("node id", "status", "reason"), rows, empty="")
        if len(failed) > FAILURES_SHOWN:
            remark(f"... and {len(failed) - FAILURES_SHOWN} more")


async def _node_id(door: Operator, device_id: str) -> str:
    """What people call the device; its id when it was deleted since."""
    try:
        return (await door.get(f"/devices/{device_id}", DeviceView)).node_id
    except Failed:
        return device_id
