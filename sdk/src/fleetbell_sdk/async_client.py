"""The asyncio client: drives the same flows as the blocking one."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Self, TypeVar

from fleetbell_sdk import flows, pulling
from fleetbell_sdk.bodies import (
    Activation,
    CustomValue,
    Device,
    DeviceInfo,
    Group,
    Package,
    Page,
    Policy,
    RefreshedKey,
    RegisteredDevice,
    Subscription,
    SubTask,
    Targets,
    Task,
    Token,
    written_custom_fields,
)
from fleetbell_sdk.connection import (
    Authority,
    FileType,
    Opened,
    PackageFile,
    failures_named,
    opened,
    opened_stream,
    options,
    package_fields,
    received,
    sent,
)
from fleetbell_sdk.errors import ConnectionFailed
from fleetbell_sdk.flows import DONE, Flow, Multipart, Pause, Request, Response, Sent, Session, Step, Tell
from fleetbell_sdk.notification import Notification, NotificationPage
from fleetbell_sdk.pulling import Following, Wanted

__all__ = ["AsyncClient"]

T = TypeVar("T")


class AsyncClient:
    """An asyncio client of one platform for one application: ``Client`` with ``await``.

    It logs in by itself when the first call needs a token, and again when the platform says the token is
    too old. Connections are kept and used again. Tasks of one event loop may share one client.

    Every call raises a subclass of :class:`~fleetbell_sdk.errors.FleetbellError`: ``ApiRefused`` (by error
    code) when the platform said no, ``ConnectionFailed`` when it was not reached, ``ResponseUnreadable``
    when its answer makes no sense. A method that iterates over a list fetches it page by page; what changes
    meanwhile may be seen twice or missed.

    Args:
        base_url: such as ``https://platform.example:8743``.
        app_id: the application's id.
        secret: the application's secret for logging in (not the one that signs pushes).
        ca: whom to trust instead of the system's roots: a CA file's path, PEM text or an ``SSLContext``.
        timeout_s: the longest wait for one step of a call: connecting (at most 5 s), sending, the answer.
        proxy_from_env: whether the environment's proxy settings are used.
        rate_wait_s: how long a call waits, in all, when the platform says that the application calls too
            often; 0 to raise ``RateExceeded`` at once.
        now_s: a clock that never goes back, for limits of time.
        sleep: how it waits; None is ``asyncio.sleep``.
    """

    def __init__(
        self,
        base_url: str,
        app_id: str,
        secret: str,
        *,
        ca: Authority = None,
        timeout_s: float = 15.0,
        proxy_from_env: bool = False,
        rate_wait_s: float = 60.0,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] | None = None,
    ) -> None:
        import httpx2  # noqa: PLC0415  (see fleetbell_sdk.connection)

        settings = options(base_url, ca, timeout_s=timeout_s, proxy_from_env=proxy_from_env)
        self._timeout = settings["timeout"]
        self._http = httpx2.AsyncClient(**settings)
        self._session = Session(app_id, secret, rate_wait_s=rate_wait_s, now_s=now_s)
        self._sleep = sleep or asyncio.sleep
        self._login_lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. The tokens stay valid until they expire; see :meth:`logout`."""
        await self._http.aclose()

    async def login(self) -> Token:
        """Log in now. Other calls do it by themselves; earlier tokens stay valid."""
        return await self._run(flows.login(self._session))

    async def refresh(self) -> Token:
        """Trade the refresh token for new tokens; log in if there is none."""
        return await self._run(flows.refresh(self._session))

    async def logout(self) -> None:
        """Give the token back. The next call logs in again."""
        await self._run(flows.logout(self._session))

    async def register_device(
        self,
        node_id: str,
        *,
        info: DeviceInfo | None = None,
        verify_code: str | None = None,
        end_user_id: str | None = None,
        imsi: str | None = None,
        psk: str | None = None,
        timeout_s: int | None = None,
        is_secure: bool | None = None,
        product_id: str | None = None,
        custom_fields: Mapping[str, CustomValue] | None = None,
        with_secret: bool = False,
    ) -> RegisteredDevice:
        """Register the device that names itself ``node_id``.

        With ``with_secret`` the v2.0.0 call is used, and the answer has the secret the device logs in with;
        otherwise the v1.1.0 call, whose answer has a verify code. ``timeout_s`` is how long the device has to
        come online before it is removed again; 0 for ever.
        """
        return await self._call(
            flows.register_device(
                self._session,
                node_id,
                info=info,
                verify_code=verify_code,
                end_user_id=end_user_id,
                imsi=imsi,
                psk=psk,
                timeout_s=timeout_s,
                is_secure=is_secure,
                product_id=product_id,
                custom_fields=custom_fields,
                with_secret=with_secret,
            )
        )

    async def device(self, device_id: str) -> Device:
        """Query one device."""
        return await self._call(flows.device(self._session, device_id))

    async def device_page(
        self,
        page_no: int = 0,
        *,
        name: str | None = None,
        device_type: str | None = None,
        protocol_type: str | None = None,
        location: str | None = None,
        status: str | None = None,
        registered_from: datetime | None = None,
        registered_until: datetime | None = None,
        sort: str | None = None,
        page_size: int = 100,
    ) -> Page[Device]:
        """Query one page of the devices that match; a page has 1 to 250.

        ``status`` is ``ONLINE``, ``OFFLINE`` or ``INACTIVE``; times need a time zone; ``sort`` is ``ASC``, or
        ``DESC`` unless given.
        """
        return await self._call(
            flows.device_page(
                self._session,
                name=name,
                device_type=device_type,
                protocol_type=protocol_type,
                location=location,
                status=status,
                registered_from=registered_from,
                registered_until=registered_until,
                sort=sort,
                page_no=page_no,
                page_size=page_size,
            )
        )

    def devices(
        self,
        *,
        name: str | None = None,
        device_type: str | None = None,
        protocol_type: str | None = None,
        location: str | None = None,
        status: str | None = None,
        registered_from: datetime | None = None,
        registered_until: datetime | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[Device]:
        """Every device that matches, in the order of registration, fetched page by page."""
        return self._every(
            lambda page_no: self.device_page(
                page_no,
                name=name,
                device_type=device_type,
                protocol_type=protocol_type,
                location=location,
                status=status,
                registered_from=registered_from,
                registered_until=registered_until,
                sort="ASC",
                page_size=page_size,
            )
        )

    async def refresh_device_key(
        self,
        device_id: str,
        *,
        node_id: str | None = None,
        verify_code: str | None = None,
        timeout_s: int | None = None,
    ) -> RefreshedKey:
        """Give a device a new verify code, made by the platform unless given, and perhaps another node id."""
        return await self._call(
            flows.refresh_device_key(
                self._session, device_id, node_id=node_id, verify_code=verify_code, timeout_s=timeout_s
            )
        )

    async def device_activation(self, device_id: str) -> Activation:
        """Query whether a device was heard at all."""
        return await self._call(flows.device_activation(self._session, device_id))

    async def modify_device(
        self,
        device_id: str,
        *,
        name: str | None = None,
        manufacturer_id: str | None = None,
        manufacturer_name: str | None = None,
        device_type: str | None = None,
        model: str | None = None,
        protocol_type: str | None = None,
        location: str | None = None,
        mute: str | None = None,
        organization: str | None = None,
        region: str | None = None,
        timezone: str | None = None,
        end_user: str | None = None,
        imsi: str | None = None,
        ip: str | None = None,
        is_secure: bool | None = None,
        psk: str | None = None,
        custom_fields: Mapping[str, CustomValue] | None = None,
    ) -> None:
        """Change a device. What is None stays; an empty text empties.

        ``custom_fields`` take the place of those that were there.
        """
        fields = {
            "name": name,
            "manufacturerId": manufacturer_id,
            "manufacturerName": manufacturer_name,
            "deviceType": device_type,
            "model": model,
            "protocolType": protocol_type,
            "location": location,
            "mute": mute,
            "organization": organization,
            "region": region,
            "timezone": timezone,
            "endUser": end_user,
            "imsi": imsi,
            "ip": ip,
            "isSecure": is_secure,
            "psk": psk,
            "customFields": written_custom_fields(custom_fields),
        }
        await self._call(flows.modify_device(self._session, device_id, fields))

    async def delete_device(self, device_id: str, *, cascade: bool | None = None) -> None:
        """Delete a device."""
        await self._call(flows.delete_device(self._session, device_id, cascade=cascade))

    async def create_group(
        self,
        name: str,
        device_ids: Iterable[str] = (),
        *,
        description: str | None = None,
        max_devices: int | None = None,
    ) -> Group:
        """Make a device group, with up to 1000 devices. ``max_devices`` 0 means that it has no limit."""
        return await self._call(
            flows.create_group(
                self._session, name, device_ids, description=description, max_devices=max_devices
            )
        )

    async def group(self, group_id: str) -> Group:
        """Query one device group."""
        return await self._call(flows.group(self._session, group_id))

    async def group_page(
        self, page_no: int = 0, *, name: str | None = None, page_size: int = 100
    ) -> Page[Group]:
        """Query one page of the device groups; a page has 1 to 1000."""
        return await self._call(
            flows.group_page(self._session, name=name, page_no=page_no, page_size=page_size)
        )

    def groups(self, *, name: str | None = None, page_size: int = 100) -> AsyncIterator[Group]:
        """Every device group, fetched page by page."""
        return self._every(lambda page_no: self.group_page(page_no, name=name, page_size=page_size))

    async def modify_group(
        self,
        group_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        max_devices: int | None = None,
    ) -> Group:
        """Change a device group; what is None stays."""
        return await self._call(
            flows.modify_group(
                self._session, group_id, name=name, description=description, max_devices=max_devices
            )
        )

    async def delete_group(self, group_id: str) -> None:
        """Delete a device group; its devices stay."""
        await self._call(flows.delete_group(self._session, group_id))

    async def group_device_page(self, group_id: str, page_no: int = 0, *, page_size: int = 100) -> Page[str]:
        """Query one page of the ids of a group's devices; a page has 1 to 1000."""
        return await self._call(
            flows.group_device_page(self._session, group_id, page_no=page_no, page_size=page_size)
        )

    def group_devices(self, group_id: str, *, page_size: int = 100) -> AsyncIterator[str]:
        """The id of every device of a group, fetched page by page."""
        return self._every(lambda page_no: self.group_device_page(group_id, page_no, page_size=page_size))

    async def add_to_group(self, group_id: str, device_ids: Iterable[str]) -> None:
        """Put up to 1000 devices into a group; those that are in it stay."""
        await self._call(flows.add_to_group(self._session, group_id, device_ids))

    async def remove_from_group(self, group_id: str, device_ids: Iterable[str]) -> None:
        """Take up to 1000 devices out of a group; those that are not in it are passed over."""
        await self._call(flows.remove_from_group(self._session, group_id, device_ids))

    async def upload_package(
        self,
        package: PackageFile,
        *,
        file_type: FileType,
        version: str | None = None,
        device_type: str | None = None,
        model: str | None = None,
        manufacturer_name: str | None = None,
        name: str | None = None,
        protocol_type: str | None = None,
        description: str | None = None,
        sha256: str | None = None,
        filename: str | None = None,
        progress: Sent | None = None,
        retries: int = 3,
    ) -> Package:
        """Upload a package, from a path or from an open binary file, without reading it into memory.

        ``version`` may be left out of a software zip that describes itself (``DM/linux/UpgradeDesc.json``).
        ``device_type``, ``model`` and ``manufacturer_name`` name the product it is for. With ``sha256`` the
        platform refuses a package that arrived altered. A file that can seek is sent from where it stands,
        with its length. This call is an extension of the documented API.

        ``progress`` is called with the number of bytes of the file that have been sent, and with its size
        (None if that is not known). After a repetition it counts from the beginning. It may be asynchronous.

        When no answer comes, the upload is repeated up to ``retries`` times, after 1, 2, 4... seconds; a file
        that cannot seek is sent once. That makes no second package: the platform answers the one it has.
        """
        fields = package_fields(
            file_type=file_type,
            version=version,
            name=name,
            device_type=device_type,
            model=model,
            manufacturer_name=manufacturer_name,
            protocol_type=protocol_type,
            description=description,
            sha256=sha256,
        )
        with opened(package, filename) as (file, sent_name):
            return await self._run(
                flows.upload_package(
                    self._session, file, sent_name, fields, progress=progress, retries=retries
                )
            )

    async def package(self, file_id: str) -> Package:
        """Query one package."""
        return await self._call(flows.package(self._session, file_id))

    async def package_page(
        self,
        page_no: int = 0,
        *,
        file_type: FileType | None = None,
        version: str | None = None,
        device_type: str | None = None,
        model: str | None = None,
        manufacturer_name: str | None = None,
        page_size: int = 100,
    ) -> Page[Package]:
        """Query one page of the packages that match; a page has 1 to 100."""
        return await self._call(
            flows.package_page(
                self._session,
                file_type=file_type,
                device_type=device_type,
                model=model,
                manufacturer_name=manufacturer_name,
                version=version,
                page_no=page_no,
                page_size=page_size,
            )
        )

    def packages(
        self,
        *,
        file_type: FileType | None = None,
        version: str | None = None,
        device_type: str | None = None,
        model: str | None = None,
        manufacturer_name: str | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[Package]:
        """Every package that matches, fetched page by page."""
        return self._every(
            lambda page_no: self.package_page(
                page_no,
                file_type=file_type,
                version=version,
                device_type=device_type,
                model=model,
                manufacturer_name=manufacturer_name,
                page_size=page_size,
            )
        )

    async def delete_package(self, file_id: str) -> None:
        """Delete a package."""
        await self._call(flows.delete_package(self._session, file_id))

    async def create_software_task(
        self,
        file_id: str,
        devices: Iterable[str] | Targets,
        *,
        policy: Policy | None = None,
    ) -> str:
        """Upgrade the software of ``devices`` (at most 256) and return the task's operation id.

        ``Targets`` with groups and their product stand for groups of any size.
        """
        return await self._call(flows.create_task(self._session, "softwareUpgrade", file_id, devices, policy))

    async def create_firmware_task(
        self,
        file_id: str,
        devices: Iterable[str] | Targets,
        *,
        policy: Policy | None = None,
    ) -> str:
        """Upgrade the firmware of ``devices`` (at most 256) and return the task's operation id.

        ``Targets`` with groups and their product stand for groups of any size.
        """
        return await self._call(flows.create_task(self._session, "firmwareUpgrade", file_id, devices, policy))

    async def task(self, operation_id: str) -> Task:
        """Query one upgrade task."""
        return await self._call(flows.task(self._session, operation_id))

    async def wait_for_task(
        self,
        operation_id: str,
        *,
        timeout_s: float | None = None,
        progress: Callable[[Task], object] | None = None,
        poll_s: float = 10.0,
    ) -> Task:
        """Wait until a task has ended, and return it.

        It ends as ``success``, ``failed`` or ``stop``, and is returned in any case. ``task.tally`` tells how
        many of its sub tasks did what, ``sub_tasks(operation_id, status="fail")`` which failed, and why.

        ``progress`` is called with the task when it is first seen, and when something of it has changed.
        It may be asynchronous.

        The task is looked at after a second, then less and less often, and at least every ``poll_s``. While
        the platform is not reached, the wait goes on. Who takes push messages need not wait: they tell it.

        Raises:
            TaskUnfinished: it had not ended after ``timeout_s``, and goes on; ``error.task`` is how it was
                last seen. None waits as long as it takes.
        """
        return await self._run(
            flows.wait_for_task(
                self._session, operation_id, timeout_s=timeout_s, poll_s=poll_s, progress=progress
            )
        )

    async def task_page(
        self,
        page_no: int = 0,
        *,
        operation_type: str | None = None,
        status: str | None = None,
        device_type: str | None = None,
        model: str | None = None,
        manufacturer_name: str | None = None,
        device_id: str | None = None,
        page_size: int = 100,
    ) -> Page[Task]:
        """Query one page of the tasks that match; a page has 1 to 100."""
        return await self._call(
            flows.task_page(
                self._session,
                operation_type=operation_type,
                status=status,
                device_type=device_type,
                model=model,
                manufacturer_name=manufacturer_name,
                device_id=device_id,
                page_no=page_no,
                page_size=page_size,
            )
        )

    def tasks(
        self,
        *,
        operation_type: str | None = None,
        status: str | None = None,
        device_type: str | None = None,
        model: str | None = None,
        manufacturer_name: str | None = None,
        device_id: str | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[Task]:
        """Every task that matches, fetched page by page."""
        return self._every(
            lambda page_no: self.task_page(
                page_no,
                operation_type=operation_type,
                status=status,
                device_type=device_type,
                model=model,
                manufacturer_name=manufacturer_name,
                device_id=device_id,
                page_size=page_size,
            )
        )

    async def sub_task_page(
        self,
        operation_id: str,
        page_no: int = 0,
        *,
        status: str | None = None,
        page_size: int = 100,
    ) -> Page[SubTask]:
        """Query one page of a task's sub tasks; a page has 1 to 100."""
        return await self._call(
            flows.sub_task_page(
                self._session, operation_id, status=status, page_no=page_no, page_size=page_size
            )
        )

    def sub_tasks(
        self,
        operation_id: str,
        *,
        status: str | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[SubTask]:
        """Every sub task of a task, fetched page by page."""
        return self._every(
            lambda page_no: self.sub_task_page(operation_id, page_no, status=status, page_size=page_size)
        )

    async def stop_task(self, operation_id: str) -> None:
        """Stop a task: sub tasks that have not ended are stopped, and their devices are told."""
        await self._call(flows.stop_task(self._session, operation_id))

    async def subscribe(self, notify_type: str, callback_url: str, *, coalesce: bool | None = None) -> None:
        """Have pushes of one of the four upgrade types sent to ``callback_url``.

        The URL is HTTPS and names its port and a path. The call returns no id; find it with
        :meth:`subscriptions`.

        With ``coalesce``, for types of states, an outage of the receiver leaves only the newest state of each
        sub task to send. None leaves that as it is.
        """
        await self._call(flows.subscribe(self._session, notify_type, callback_url, coalesce=coalesce))

    async def subscribe_service_data(self, notify_type: str, callback_url: str) -> Subscription:
        """Subscribe to news of devices: ``deviceAdded``, ``deviceInfoChanged`` or ``deviceDeleted``."""
        return await self._call(flows.subscribe_service_data(self._session, notify_type, callback_url))

    async def subscription(self, subscription_id: str) -> Subscription:
        """Query one subscription."""
        return await self._call(flows.subscription(self._session, subscription_id))

    async def subscription_page(
        self,
        page_no: int = 0,
        *,
        notify_type: str | None = None,
        page_size: int = 100,
    ) -> Page[Subscription]:
        """Query one page of the subscriptions that match."""
        return await self._call(
            flows.subscription_page(
                self._session, notify_type=notify_type, page_no=page_no, page_size=page_size
            )
        )

    def subscriptions(
        self,
        *,
        notify_type: str | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[Subscription]:
        """Every subscription that matches, fetched page by page."""
        return self._every(
            lambda page_no: self.subscription_page(page_no, notify_type=notify_type, page_size=page_size)
        )

    async def unsubscribe(self, subscription_id: str) -> None:
        """Delete one subscription. What still waits for it is not pushed any more."""
        await self._call(flows.unsubscribe(self._session, subscription_id))

    async def unsubscribe_all(
        self,
        *,
        notify_type: str | None = None,
        callback_url: str | None = None,
    ) -> None:
        """Delete the subscriptions that match; without a filter, all of the application's.

        Raises:
            SubscriptionUnknown: none matches.
        """
        await self._call(
            flows.unsubscribe_all(self._session, notify_type=notify_type, callback_url=callback_url)
        )

    async def notification_page(
        self,
        after: str | None = None,
        *,
        before: str | None = None,
        device_id: str | None = None,
        notify_types: Iterable[str] = (),
        page_size: int = 100,
    ) -> NotificationPage:
        """Pull one page of notifications, the oldest first; a page has 1 to 1,000.

        ``after`` is a webhook-id or the ``next`` of a page; ``latest`` is what comes after now, None the
        oldest that is kept. ``before`` is a webhook-id, itself left out.

        Raises:
            CursorExpired: something after the cursor is not kept any more.
        """
        wanted = Wanted.of(after, before, device_id, notify_types)
        return await self._call(pulling.page(self._session, wanted, page_size=page_size))

    def notifications(
        self,
        after: str | None = None,
        *,
        before: str | None = None,
        device_id: str | None = None,
        notify_types: Iterable[str] = (),
        follow: bool = False,
    ) -> AsyncIterator[Notification]:
        """Pull notifications, the oldest first: news of upgrades, subscribed to or not, and other news that
        is subscribed to. The arguments are those of :meth:`notification_page`.

        With ``follow`` it never ends: it goes on with what is made later, and comes again after a broken
        connection, an outage of the platform or an expired token, from behind the last one that was taken.
        None is lost and none comes twice.

        Raises:
            CursorExpired: something after the cursor is not kept any more.
            ValueError: ``follow`` and ``before`` together.
        """
        wanted = Wanted.of(after, before, device_id, notify_types)
        if follow and before is not None:
            raise ValueError("what is followed has no end; leave out before, or follow")
        return self._follow(Following(wanted)) if follow else self._pull(wanted)

    async def _pull(self, wanted: Wanted) -> AsyncIterator[Notification]:
        while True:
            page = await self._call(pulling.page(self._session, wanted, page_size=pulling.PAGE_SIZE))
            for item in page.items:
                yield item
            if not page.more:
                return
            wanted = wanted.at(page.next)

    async def _follow(self, following: Following) -> AsyncIterator[Notification]:
        while True:
            try:
                answer = opened_stream(await self._call(following.opened(self._session)))
                try:
                    with failures_named(following.request):
                        async for chunk in answer.aiter_bytes():
                            for item in following.read(chunk):
                                yield item
                finally:
                    await answer.aclose()
            except pulling.PASSING as error:
                await self._sleep(following.pause_s(error))
            else:
                await self._sleep(following.pause_s())

    async def _call(self, flow: Flow[T]) -> T:
        """Run ``flow`` with a token in hand, so that calls made at once do not all log in."""
        if self._session.access_token is None:
            async with self._login_lock:
                if self._session.access_token is None:
                    await self._run(flows.login(self._session))
        return await self._run(flow)

    async def _run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    done = await self._done(step)
                except ConnectionFailed as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(done)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            flow.close()

    async def _done(self, step: Step) -> Response:
        match step:
            case Request():
                return await self._send(step)
            case Pause(seconds=seconds):
                await self._sleep(seconds)
            case Tell(call=call):
                await _awaited(call())
        return DONE

    async def _send(self, request: Request) -> Response:
        headers, timeout = sent(request, self._timeout)
        body = request.body if isinstance(request.body, bytes) else _chunks(request.body)
        if request.streamed:
            return await self._open(request)
        with failures_named(request):
            answer = await self._http.request(
                request.method, request.path, content=body, headers=headers, timeout=timeout
            )
        return received(answer)

    async def _open(self, request: Request) -> Response:
        headers, timeout = sent(request, self._timeout)
        with failures_named(request):
            answer = await self._http.send(
                self._http.build_request(request.method, request.path, headers=headers, timeout=timeout),
                stream=True,
            )
            if answer.status_code == 200:
                return Opened(200, b"", answer=answer)
            await answer.aread()
        return received(answer)

    async def _every(self, page: Callable[[int], Awaitable[Page[T]]]) -> AsyncIterator[T]:
        seen = 0
        for page_no in itertools.count():
            found = await page(page_no)
            for item in found.items:
                yield item
            seen += len(found.items)
            if not found.items or seen >= found.total_count:
                return


async def _chunks(form: Multipart) -> AsyncIterator[bytes]:
    """The form's bytes, with the file read on a thread so that the loop goes on."""
    chunks, told = form.chunks(), 0
    while (found := await asyncio.to_thread(next, chunks, None)) is not None:
        chunk, sent_bytes = found
        yield chunk
        if form.progress is not None and sent_bytes > told:
            told = sent_bytes
            await _awaited(form.progress(sent_bytes, form.size_bytes))


async def _awaited(result: object) -> None:
    """The caller's functions may be of either kind."""
    if inspect.isawaitable(result):
        await result
