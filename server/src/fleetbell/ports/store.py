"""The rows: the only truth of the platform.

Reading is synchronous and quick (a point look-up takes microseconds), so it happens on the event loop.
Writing is a *work*: a plain function that is handed a :class:`Transaction`. Works that wait at the same time
share one commit; a work that raises leaves nothing behind and disturbs no other. ``docs/decisions`` ("Works
run where the transaction is") says why a function and not an ``async with``.

Methods on the hot path take lists, because batches are what makes them fast.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import msgspec

from fleetbell.domain.application import Application, CallbackCa, ClientCertificate, Token
from fleetbell.domain.chaos import Chaos
from fleetbell.domain.delivery import DeadReason, Delivery, Head, Settlement, Standing, Tried
from fleetbell.domain.device import Device, Product
from fleetbell.domain.endpoint import Endpoint, Health, Unwanted
from fleetbell.domain.group import Group
from fleetbell.domain.notification import Notification
from fleetbell.domain.package import Package
from fleetbell.domain.signing_key import SigningKey
from fleetbell.domain.subscription import Subscription
from fleetbell.domain.subtask import Attempt, Ended, SubTask, SubTaskStatus, UpgradeKind
from fleetbell.domain.task import Course, Tally, TaskStatus, UpgradeTask
from fleetbell.domain.token import ApiToken

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list: ``number`` from 0, ``size`` rows each."""

    number: int = 0
    size: int = 10


@dataclass(frozen=True, slots=True)
class Listed(Generic[R]):
    """One page of a list and how many rows there are in all."""

    rows: tuple[R, ...]
    total: int


class Note(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Something that was said about an attempt and moved nothing: an audit line."""

    action_id: int
    at_ms: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFilter:
    """Which devices: those that fit everything that is not None."""

    device_id: str | None = None
    name: str | None = None
    device_type: str | None = None
    protocol_type: str | None = None
    location: str | None = None
    is_online: bool | None = None
    is_active: bool | None = None  # whether it was heard at all
    created_from_ms: int | None = None
    created_until_ms: int | None = None
    newest_first: bool = False


EVERY_DEVICE = DeviceFilter()
SWEEP_MOST = 2000  # lanes that one part of a sweep looks at


class Member(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One device of a group, with what a task needs of it. ``number`` says where it stands in the order of
    registration and never changes.
    """

    number: int
    device_id: str
    action_id: int | None  # the attempt it works on now


class AttemptEnd(msgspec.Struct, frozen=True, gc=False):
    """How an attempt ended, to be kept with it."""

    attempt: Attempt  # after the end
    ended: Ended


class DueAttempt(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An open attempt that is to be looked at, because its step may have taken too long."""

    attempt: Attempt
    window_ends_at_ms: int | None  # of its task


@dataclass(slots=True)
class HandOver:
    """What a write left for the sender.

    ``heads`` are claimed for this process and go to it in memory; ``left`` names the endpoints at which
    heads became due that nobody claimed. ``made`` counts the new deliveries by notify type.
    ``recalled`` names the endpoints whose subscriptions ended: a sender may hold heads that were cancelled.
    """

    heads: list[Head] = field(default_factory=list)
    left: set[int] = field(default_factory=set)
    recalled: set[int] = field(default_factory=set)
    made: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Swept:
    """What one part of a sweep did: how many rows, and after which number to go on (None: it is done)."""

    count: int
    next: int | None
    hand_over: HandOver


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Which deliveries: those that fit everything that is not None."""

    application_id: str | None = None
    endpoint_id: int | None = None
    device_id: str | None = None
    operation_id: str | None = None
    sub_operation_id: str | None = None
    standing: Standing | None = None
    from_ms: int | None = None  # made at this time or later
    before_ms: int | None = None  # made before this time
    sent_again: bool | None = None  # whether somebody had it sent again


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationFilter:
    """Which notifications of one application: those that fit everything that is given."""

    application_id: str
    device_id: str | None = None
    notify_types: tuple[str, ...] = ()  # none: all


@dataclass(frozen=True, slots=True)
class Pulled:
    """Notifications with their numbers, in the order in which they were made, and where to go on.

    ``next``: everything up to this number was looked at, so that the next look begins after it. ``more``:
    there is something behind it already. There may be fewer rows than were asked for, or none, and more to
    come: one look reads a bounded number of rows.

    ``expired``: the last number that this application cannot pull any more, as of the same moment. Who began
    before it may have missed something.
    """

    rows: tuple[tuple[int, Notification], ...]
    next: int
    more: bool
    expired: int


@dataclass(frozen=True, slots=True)
class Found:
    """Deliveries, the newest first, and where to go on: None when there are no more, else for ``before_id``.

    There may be fewer than were asked for, and more to come: one look reads a bounded number of rows.
    """

    rows: tuple[Delivery, ...]
    next: int | None


Take = Callable[[int], bool]
"""Asks the sender whether it takes one more head of an endpoint. Called on the writer's thread."""


class Reading(Protocol):
    """What can be asked. Lists are in order of creation unless said otherwise. Unknown ids give None."""

    def application(self, application_id: str) -> Application | None: ...
    def application_of_tenant(self, ddi_tenant: str) -> Application | None:
        """By the (lower case) name in the paths of the DDI door."""
        ...

    def applications(self) -> tuple[Application, ...]: ...
    def callback_cas(self, application_id: str | None = None) -> tuple[CallbackCa, ...]:
        """Of one application, or of all."""
        ...

    def client_certificate(self, application_id: str) -> ClientCertificate | None: ...
    def token(self, token_digest: str) -> Token | None: ...
    def api_token(self, token_digest: str) -> ApiToken | None: ...
    def api_tokens(self, application_id: str | None = None) -> tuple[ApiToken, ...]:
        """Of one application, or all of them, an operator's too."""
        ...

    def signing_keys(self, application_id: str) -> tuple[SigningKey, ...]: ...

    def device(self, device_id: str) -> Device | None: ...
    def device_of_node(self, application_id: str, node_id: str) -> Device | None: ...
    def devices(
        self, application_id: str | None, page: Page, wanted: DeviceFilter = EVERY_DEVICE
    ) -> Listed[Device]:
        """Of one application, or of all. Counts them, and may look through all: for :meth:`Store.look_up`."""
        ...

    def silent_devices(self, *, since_ms: int, most: int) -> tuple[str, ...]:
        """The ids of devices that are online and were not heard since then.

        Reads every device: for :meth:`Store.look_up`.
        """
        ...

    def group(self, group_id: str) -> Group | None: ...
    def groups(self, application_id: str | None, page: Page, *, name: str | None = None) -> Listed[Group]:
        """Of one application, or of all."""
        ...

    def group_names(self, application_id: str, names: Sequence[str]) -> frozenset[str]:
        """Those of ``names`` that are names of groups."""
        ...

    def group_devices(self, group_id: str, page: Page) -> Listed[str]:
        """The ids of its devices, in the order of their registration."""
        ...

    def group_members(
        self, application_id: str, names: Sequence[str], product: Product, *, after: int, most: int
    ) -> tuple[Member, ...]:
        """The devices that are in at least one of these groups and are exactly this product, each once.

        In the order of registration: the first ``most`` whose number is above ``after`` (0: from the
        beginning). Whoever goes on after the last number it was given meets no device twice, whatever was
        registered or deleted meanwhile. Names that are no groups bring nothing.
        """
        ...

    def package(self, file_id: str) -> Package | None: ...
    def package_of_module(self, module_id: int) -> Package | None: ...
    def packages(
        self,
        application_id: str | None,
        page: Page,
        *,
        kind: UpgradeKind | None = None,
        version: str | None = None,
        manufacturer_name: str | None = None,
        device_type: str | None = None,
        model: str | None = None,
    ) -> Listed[Package]: ...
    def package_like(self, package: Package) -> Package | None:
        """The first of its application that is the same but for ``file_id``, number and time of upload."""
        ...

    def package_in_use(self, file_id: str) -> bool:
        """Whether a task that has not ended needs it."""
        ...

    def task(self, operation_id: str) -> UpgradeTask | None: ...
    def tasks(
        self,
        application_id: str | None,
        page: Page,
        *,
        kind: UpgradeKind | None = None,
        status: TaskStatus | None = None,
        device_id: str | None = None,
        manufacturer_name: str | None = None,
        device_type: str | None = None,
        model: str | None = None,
    ) -> Listed[UpgradeTask]:
        """The newest first. The product parts are those of the task's package."""
        ...

    def tally(self, operation_id: str) -> Tally:
        """Its total is the task's from the beginning, however many sub tasks are made."""
        ...

    def tasks_due_ms(self) -> int | None:
        """When the earliest errand of a task or look at an attempt is due; None when there is none."""
        ...

    def sub_task(self, sub_operation_id: str) -> SubTask | None: ...
    def sub_tasks(
        self, operation_id: str, page: Page, *, status: SubTaskStatus | None = None
    ) -> Listed[SubTask]:
        """In the order of the task's targets. Those of a rare status take a walk through all of the task: for
        :meth:`Store.look_up`.
        """
        ...

    def attempts(self, action_ids: Sequence[int]) -> list[Attempt]:
        """Those that exist, in no particular order."""
        ...

    def notes(self, action_id: int, *, most: int) -> tuple[Note, ...]:
        """The newest first."""
        ...

    def subscription(self, subscription_id: str) -> Subscription | None: ...
    def subscriptions(
        self,
        application_id: str,
        page: Page,
        *,
        notify_type: str | None = None,
        callback_url: str | None = None,
    ) -> Listed[Subscription]: ...

    def subscribed(self, application_ids: Collection[str], notify_type: str) -> frozenset[str]:
        """Those of these applications that want to hear of this type."""
        ...

    def endpoint(self, endpoint_id: int) -> Endpoint | None: ...
    def endpoints(self, application_id: str | None = None) -> tuple[Endpoint, ...]:
        """Of one application, or of all."""
        ...

    def waiting_at(self, endpoint_id: int) -> int:
        """How many deliveries to this endpoint have not ended."""
        ...

    def deliveries_waiting(self) -> int:
        """How many deliveries have not ended."""
        ...

    def oldest_waiting_ms(self, endpoint_id: int) -> int | None:
        """When the notification was made that has waited longest for this endpoint.

        Reads every lane of the endpoint: for :meth:`Store.look_up`.
        """
        ...

    def next_due_ms(self, endpoint_id: int) -> int | None:
        """When the earliest unclaimed head of this endpoint is due; None when there is none."""
        ...

    def coalesces(self, endpoint_id: int) -> bool:
        """Whether one of its subscriptions asks for the newest state only, after an outage."""
        ...

    def newest_delivery_id(self) -> int:
        """The last one that was made; 0 before the first."""
        ...

    def newest_notification_id(self) -> int:
        """The last one that was kept; 0 before the first. What gets a higher number becomes visible later."""
        ...

    def expired_notification_id(self, application_id: str) -> int:
        """The last one that this application cannot pull any more; 0 when there is none."""
        ...

    def notification(self, notification_id: int) -> Notification | None: ...
    def notifications(
        self,
        wanted: NotificationFilter,
        *,
        after_id: int | None,
        before_id: int | None,
        most: int,
        look_at_most: int,
    ) -> Pulled:
        """The first ``most`` that fit, with numbers above ``after_id`` (None: from the oldest that has not
        expired) and below ``before_id``. What has expired is never among them.

        A look reads up to ``look_at_most`` rows of all applications: for :meth:`Store.look_up`.
        """
        ...

    def delivery(self, delivery_id: int) -> Delivery | None: ...
    def deliveries_of(self, notification_id: int) -> tuple[Delivery, ...]:
        """To every endpoint, and every time it was sent again."""
        ...

    def body(self, notification_id: int) -> str | None:
        """The very characters that are sent."""
        ...

    def attempts_of(self, delivery_id: int) -> tuple[tuple[int, Tried], ...]:
        """Its attempts by number. A number that is missing was never told to have ended: the platform
        stopped while it was under way.
        """
        ...

    def deliveries(
        self, wanted: DeliveryFilter, *, before_id: int | None, most: int, look_at_most: int
    ) -> Found:
        """Deliveries with a number below ``before_id`` (None: from the newest on). For :meth:`Store.look_up`.

        Those of one device are found at once; elsewhere one look reads up to ``look_at_most`` rows.
        """
        ...


class Transaction(Reading, Protocol):
    """What a work can do. All of it is kept together or not at all."""

    def add_application(self, application: Application) -> None:
        """Raises ApplicationTaken for an id or tenant in use."""
        ...

    def save_application(self, application: Application) -> None: ...
    def delete_application(self, application_id: str) -> None:
        """With its tokens of both kinds, CAs, client certificate, signing keys, groups, subscriptions and
        endpoints. Its notifications have expired: another application of this id never sees them.

        Raises ApplicationInUse while it has devices, packages or tasks.
        """
        ...

    def add_callback_ca(self, ca: CallbackCa) -> None: ...
    def delete_callback_ca(self, ca_id: str) -> None: ...
    def set_client_certificate(self, certificate: ClientCertificate) -> None:
        """In place of the one that the application had."""
        ...

    def delete_client_certificate(self, application_id: str) -> None: ...
    def add_signing_key(self, key: SigningKey) -> None: ...
    def save_signing_key(self, key: SigningKey) -> None:
        """When it signs."""
        ...

    def delete_signing_keys(self, key_ids: Sequence[str]) -> None: ...
    def add_tokens(self, tokens: Sequence[Token]) -> None: ...
    def delete_token(self, token_digest: str) -> None: ...
    def delete_tokens_of(self, application_id: str) -> None: ...
    def delete_expired_tokens(self, *, at_ms: int) -> int:
        """How many there were."""
        ...

    def add_api_token(self, token: ApiToken) -> None: ...
    def note_api_token_use(self, token_id: str, day: str) -> None: ...
    def delete_api_token(self, token_id: str) -> None: ...

    def beat(self, *, at_ms: int) -> None:
        """Write something that means nothing: proof that writing is possible."""
        ...

    def add_device(self, device: Device) -> None:
        """Raises NodeIdTaken."""
        ...

    def save_device(self, device: Device) -> None:
        """All columns but ``last_contact_at_ms`` and ``online``."""
        ...

    def touch_devices(self, contacts: Mapping[str, int]) -> Mapping[str, str]:
        """Keep when devices were last heard, by their ids; devices that are gone are passed over.

        Those that come online by it, each with its application. Whoever was heard need not be again.
        """
        ...

    def take_offline(self, device_ids: Sequence[str], *, silent_since_ms: int) -> Mapping[str, str]:
        """Take those of these devices offline that were not heard since then; each with its application."""
        ...

    def unbound_devices(self, *, at_ms: int, most: int) -> tuple[Device, ...]:
        """Devices that had to be heard by then, and were not; the longest overdue first. Those that a task
        works on are left out.
        """
        ...

    def delete_device(self, device_id: str) -> None:
        """It leaves its groups as well."""
        ...

    def add_group(self, group: Group) -> None:
        """Without devices. Raises GroupNameTaken."""
        ...

    def save_group(self, group: Group) -> None:
        """All but its devices and their number. Raises GroupNameTaken."""
        ...

    def delete_group(self, group_id: str) -> None:
        """Its devices stay."""
        ...

    def add_group_devices(self, group_id: str, device_ids: Sequence[str]) -> int:
        """How many were not in the group. Devices that its application does not have are passed over."""
        ...

    def delete_group_devices(self, group_id: str, device_ids: Sequence[str]) -> int:
        """How many were in the group."""
        ...

    def add_package(self, package: Package) -> Package:
        """With its ``module_id`` given."""
        ...

    def delete_package(self, file_id: str) -> None: ...

    def add_targets(self, operation_id: str, position: int, device_ids: Sequence[str]) -> None:
        """Keep some targets of a task, which itself may come later, until their sub tasks are made.

        ``position`` is that of the first.
        """
        ...

    def targets(self, operation_id: str, position: int) -> tuple[str, ...]:
        """The targets that were kept under this position; empty when there are none."""
        ...

    def delete_targets(self, operation_id: str, position: int) -> None: ...
    def delete_targets_without_task(self) -> int:
        """Delete what creations left that came to no task; how many targets were kept together."""
        ...

    def add_task(self, task: UpgradeTask, shares: Sequence[tuple[str, str]]) -> list[Attempt]:
        """Keep a task, and :meth:`add_shares` from its first target on."""
        ...

    def add_shares(
        self, task: UpgradeTask, position: int, shares: Sequence[tuple[str, str]]
    ) -> list[Attempt]:
        """Keep one sub task and its first attempt for each (sub operation id, device id), all waiting and
        not yet offered; ``position`` is that of the first among the task's targets.

        The attempts come in that order with their new action ids. Devices are left as they are.
        """
        ...

    def shares_from(self, operation_id: str, position: int, *, most: int) -> list[Attempt]:
        """The newest attempts of the sub tasks from this position on, in the order of the targets."""
        ...

    def add_attempts(self, ended: Sequence[Attempt]) -> list[Attempt]:
        """A new attempt, waiting and not yet offered, of the sub task of each of these, which have failed
        and are the newest of theirs. In the same order.
        """
        ...

    def save_course(self, operation_id: str, course: Course) -> None: ...
    def end_round(self, operation_id: str, *, at_ms: int) -> None:
        """If the task has neither an errand nor an open sub task, it ends or turns to its retry."""
        ...

    def due_task(self, *, at_ms: int) -> UpgradeTask | None:
        """The task whose errand is due the longest."""
        ...

    def due_attempts(self, *, at_ms: int, most: int) -> list[DueAttempt]:
        """Open attempts that are to be looked at, the longest due first."""
        ...

    def look_again(self, looks: Sequence[tuple[int, int]]) -> None:
        """When (milliseconds) to look at each of these attempts (action ids), instead of earlier wishes."""
        ...

    def at_work(self, device_ids: Sequence[str]) -> Mapping[str, int | None]:
        """The attempt that each of these devices works on; devices that are gone are left out."""
        ...

    def offer_attempts(self, attempts: Sequence[Attempt], *, at_ms: int, look_at_ms: int) -> None:
        """Each attempt is now what its device works on. It is looked at again at ``look_at_ms``."""
        ...

    def release_devices(self, attempts: Sequence[Attempt], *, cancel: bool) -> None:
        """Each device no longer works on this attempt; with ``cancel`` it is to be told so."""
        ...

    def save_attempts(self, attempts: Sequence[Attempt], ends: Sequence[AttemptEnd]) -> None:
        """Keep moved attempts and the status, times and reason of their sub tasks. Tasks that had not begun
        get their start; :meth:`end_round` follows for tasks whose last open sub task is among ``ends``.

        ``ends`` is about some of ``attempts``. The device of a success runs the target version from now on,
        and its attributes are wanted again; the device of any end is free, and nobody looks at the attempt
        any more.
        """
        ...

    def add_notes(self, notes: Sequence[Note], *, most: int) -> None:
        """Keep audit lines, of each attempt the newest ``most``."""
        ...

    def add_subscription(self, subscription: Subscription) -> bool:
        """False, and nothing changed, when the same (application, type, URL) is there already.

        An endpoint that was gone is back.
        """
        ...

    def set_coalesce(self, subscription_id: str, coalesce: bool) -> None:
        """Whether older states are left out after an outage."""
        ...

    def save_health(self, endpoint_id: int, health: Health) -> None: ...
    def save_certificate_end(self, endpoint_id: int, certificate_ends_ms: int) -> None: ...
    def set_paused(self, endpoint_id: int, paused_at_ms: int | None) -> None: ...
    def set_rate(self, endpoint_id: int, rate_per_s: float | None) -> None: ...
    def set_chaos(self, endpoint_id: int, chaos: Chaos | None) -> None: ...
    def close_endpoint(self, endpoint_id: int, *, at_ms: int, most: int = SWEEP_MOST) -> HandOver:
        """It is gone: its subscriptions end, and what waits for it is dead (endpoint gone).

        As with :meth:`delete_subscriptions`, what is in more than ``most`` lanes is noted as unwanted.
        """
        ...

    def cancel_unwanted(
        self, endpoint_id: int, unwanted: Sequence[Unwanted], *, after_lane: int, most: int, at_ms: int
    ) -> Swept:
        """Let die what is noted as unwanted in the next ``most`` lanes of an endpoint, claimed or not. With
        the last lane the note goes away, unless it is not ``unwanted`` any more.
        """
        ...

    def expire(
        self,
        endpoint_id: int,
        *,
        through_id: int,
        reason: DeadReason,
        after_lane: int,
        most: int,
        at_ms: int,
    ) -> Swept:
        """Let die what waits, unclaimed, of the deliveries up to ``through_id`` in the next ``most`` lanes
        of an endpoint.
        """
        ...

    def coalesce(self, endpoint_id: int, *, after_lane: int, most: int, at_ms: int) -> Swept:
        """Let newer states supersede older ones of the same sub task, in the next ``most`` lanes of an
        endpoint, where their subscription asks for it and nobody is sending them.
        """
        ...

    def replay(self, delivery_ids: Sequence[int], *, at_ms: int) -> tuple[int, HandOver]:
        """Send deliveries that have ended again, each in the replay lane of its device; how many that are.

        What still waits is passed over, and what went to an endpoint that has no subscription now.
        """
        ...

    def prune(self, *, before_ms: int, after_id: int, most: int) -> Swept:
        """Of the next ``most`` deliveries, remove those that ended before then as delivered, superseded or
        cancelled, with their attempts, and notifications that have expired and of which no delivery is left.
        What was sent again stays as long as its replay. It goes on until it comes to what was made later.
        """
        ...

    def expire_notifications(self, *, before_ms: int, most: int) -> Swept:
        """Let the next ``most`` notifications expire, in the order of their numbers, up to the first that was
        made then or later: they cannot be pulled any more. Those of which there is no delivery are removed;
        the count is of these.
        """
        ...

    def delete_subscriptions(
        self, subscriptions: Sequence[Subscription], *, at_ms: int, most: int = SWEEP_MOST
    ) -> HandOver:
        """Their waiting deliveries become dead (cancelled); lanes go on with what other subscriptions
        brought.

        At once in the first ``most`` lanes of each endpoint. If it has more, the rest is noted as unwanted
        in its row, and nothing is to be sent there before :meth:`cancel_unwanted` is through.
        """
        ...

    def add_notifications(self, notifications: Sequence[Notification], *, take: Take, at_ms: int) -> HandOver:
        """Keep the notifications in this order, with one delivery for each subscription of their application
        and type. Those that are neither subscribed to nor news of upgrades are not kept.

        Each delivery takes the next place in its lane. A delivery that becomes the head of its lane is
        claimed when ``take`` says yes to its endpoint, else it is due at once.
        """
        ...

    def claim(self, endpoint_id: int, *, at_ms: int, most: int) -> list[Head]:
        """Claim heads of this endpoint that are due, the longest due first. Nobody else gets them until
        they settle.
        """
        ...

    def settle(self, settlements: Sequence[Settlement], *, take: Take, at_ms: int) -> HandOver:
        """Record verdicts; where a delivery ended, the next of its lane becomes the head, claimed when
        ``take`` says yes.

        A settlement whose claim is no longer good changes nothing; what was posted is in the attempt log all
        the same.
        """
        ...

    def hasten(self, *, later_than_ms: int, at_ms: int, endpoint_id: int | None = None) -> int:
        """Make every unclaimed head (of an endpoint) that is due later than that due at ``at_ms``; how many.
        For a clock that went back, and for failures that count no more.
        """
        ...

    def release_claims(self) -> int:
        """Make every claimed head due at once, whoever had claimed it; how many. For a sender that starts
        anew.
        """
        ...


class Store(Protocol):
    """Where everything is kept."""

    @property
    def instance(self) -> str:
        """A random name of this store, made when it was made."""
        ...

    @property
    def reading(self) -> Reading:
        """The committed state. For the event loop's thread only."""
        ...

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` in a transaction; return what it returned once that is on stable storage.

        Raises:
            Busy: too many works are waiting; this one was not begun.
            StorageFull: the disk is full; nothing was kept.
            StorageFailed: the disk failed; nothing was kept, or all of it.
        """
        ...

    async def look_up(self, question: Callable[[Reading], T]) -> T:
        """Ask what takes longer than a moment, of the committed state and beside the event loop."""
        ...

    async def close(self) -> None:
        """Finish the works that wait, then let go."""
        ...
