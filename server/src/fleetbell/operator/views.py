"""What this door takes and shows: one description for both of its ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

from fleetbell.domain.application import Application, CallbackCa, ClientCertificate
from fleetbell.domain.certificate import certificate_warning
from fleetbell.domain.chaos import Chaos
from fleetbell.domain.delivery import Delivery, Standing, Tried
from fleetbell.domain.device import Device
from fleetbell.domain.endpoint import Endpoint
from fleetbell.domain.examination import Examined, Step
from fleetbell.domain.group import Group
from fleetbell.domain.package import Package
from fleetbell.domain.policy import Window
from fleetbell.domain.signing_key import SigningKey
from fleetbell.domain.subtask import Attempt, Deadline, SubTask, UpgradeKind
from fleetbell.domain.task import Tally, UpgradeTask
from fleetbell.domain.token import ApiToken
from fleetbell.services.delivery import Traced
from fleetbell.services.endpoint import Seen

T = TypeVar("T")

Kind = Literal["software", "firmware"]
_KINDS: Final[Mapping[UpgradeKind, Kind]] = {
    UpgradeKind.SOFTWARE: "software",
    UpgradeKind.FIRMWARE: "firmware",
}
KeyStage = Literal["announced", "signs", "ended"]
SecretKind = Literal["login", "signing", "gateway"]


class Problem(msgspec.Struct, frozen=True):
    """A refusal (RFC 9457)."""

    title: str
    status: int
    detail: str


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How the platform is; ``addresses`` has the URL of each other door that is open."""

    version: str
    instance: str
    deliveries_waiting: int
    addresses: dict[str, str]


class Items(msgspec.Struct, Generic[T], frozen=True):
    """A list or one page of it; ``total`` counts all pages."""

    total: int
    items: list[T]

    @classmethod
    def whole(cls, items: Iterable[T]) -> Items[T]:
        """A list that has one page only."""
        every = list(items)
        return Items(len(every), every)


class NewApplication(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An application to create."""

    name: str
    application_id: str | None = None
    ddi_tenant: str | None = None
    calls_per_window: int | None = None
    gateway_token: bool = False


class ApplicationView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of an application; never a secret."""

    application_id: str
    name: str
    ddi_tenant: str | None
    has_gateway_token: bool
    calls_per_window: int | None
    created_at_ms: int

    @classmethod
    def of(cls, application: Application) -> ApplicationView:
        return cls(
            application_id=application.application_id,
            name=application.name,
            ddi_tenant=application.ddi_tenant,
            has_gateway_token=application.gateway_token is not None,
            calls_per_window=application.calls_per_window,
            created_at_ms=application.created_at_ms,
        )


class CreatedApplication(msgspec.Struct, frozen=True, kw_only=True):
    """A new application with the secrets that are shown this once."""

    application: ApplicationView
    login_secret: str
    signing_secret: str
    gateway_token: str | None = None


class TokenToCreate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to make: an operator's without an application, good for ever without ``days``."""

    name: str
    application_id: str | None = None
    days: int | None = None


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a token; ``last_used_on`` is a day in UTC, such as 2026-11-20."""

    token_id: str
    name: str
    application_id: str | None
    created_at_ms: int
    expires_at_ms: int | None
    last_used_on: str | None

    @classmethod
    def of(cls, token: ApiToken) -> TokenView:
        return cls(
            token_id=token.token_id,
            name=token.name,
            application_id=token.application_id,
            created_at_ms=token.created_at_ms,
            expires_at_ms=token.expires_at_ms,
            last_used_on=token.last_used_on,
        )


class CreatedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A new token; ``token`` is shown this once."""

    details: TokenView
    token: str


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A secret to replace; the former one counts for the overlap (a gateway token's does not)."""

    which: SecretKind
    overlap_s: int = 0


class NewSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A secret that took the place of another; it is shown this once."""

    which: SecretKind
    secret: str


class CaView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a CA."""

    ca_id: str
    subject: str
    not_after_ms: int
    added_at_ms: int

    @classmethod
    def of(cls, ca: CallbackCa) -> CaView:
        return cls(
            ca_id=ca.ca_id, subject=ca.subject, not_after_ms=ca.not_after_ms, added_at_ms=ca.added_at_ms
        )


class ClientCertificateToSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A certificate, with the CAs between it and its root behind it, and its key; all in PEM."""

    certificate: str
    key: str


class ClientCertificateView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a client certificate; never its key."""

    subject: str
    certificate: str
    not_after_ms: int
    set_at_ms: int

    @classmethod
    def of(cls, certificate: ClientCertificate) -> ClientCertificateView:
        return cls(
            subject=certificate.subject,
            certificate=certificate.certificate_pem,
            not_after_ms=certificate.not_after_ms,
            set_at_ms=certificate.set_at_ms,
        )


class KeyRotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A signing key to make: how long it is published before it signs, and how long the former one goes on
    beside it. The first key of an application signs at once.
    """

    announce_s: int = 86_400
    overlap_s: int = 86_400


class SigningKeyView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a signing key; never its private half. An ended one is still published for a while."""

    key_id: str
    public_key: str
    stage: KeyStage
    made_at_ms: int
    signs_from_ms: int
    signs_until_ms: int | None

    @classmethod
    def of(cls, key: SigningKey, *, at_ms: int) -> SigningKeyView:
        return cls(
            key_id=key.key_id,
            public_key=key.public_key,
            stage="signs"
            if key.signs(at_ms=at_ms)
            else "ended"
            if key.has_ended(at_ms=at_ms)
            else "announced",
            made_at_ms=key.made_at_ms,
            signs_from_ms=key.signs_from_ms,
            signs_until_ms=key.signs_until_ms,
        )


class DeviceToAdd(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device to register; without a token one is made."""

    node_id: str
    name: str = ""
    manufacturer_name: str = ""
    device_type: str = ""
    model: str = ""
    target_token: str | None = None


class UpgradeView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of an attempt; it fails at ``fails_at_ms`` unless its device gets ahead."""

    action_id: int
    operation_id: str
    sub_operation_id: str
    kind: Kind
    target_version: str
    status: str
    state: str
    fails_at_ms: int | None

    @classmethod
    def of(cls, attempt: Attempt, deadline: Deadline | None) -> UpgradeView:
        return cls(
            action_id=attempt.action_id,
            operation_id=attempt.operation_id,
            sub_operation_id=attempt.sub_operation_id,
            kind=_KINDS[attempt.kind],
            target_version=attempt.target_version,
            status=attempt.status.wire_name,
            state=attempt.state.wire_name,
            fails_at_ms=None if deadline is None else deadline.at_ms,
        )


class WindowView(msgspec.Struct, frozen=True, kw_only=True):
    """A task that offers something to a device once its window opens."""

    operation_id: str
    kind: Kind
    target_version: str
    starts_at_ms: int

    @classmethod
    def of(cls, task: UpgradeTask, window: Window) -> WindowView:
        return cls(
            operation_id=task.operation_id,
            kind=_KINDS[task.kind],
            target_version=task.target_version,
            starts_at_ms=window.starts_at_ms,
        )


class DeviceView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a device: ``upgrade`` is what it works on. The token and the windows that it waits for
    are left out of lists.
    """

    device_id: str
    application_id: str
    node_id: str
    name: str
    manufacturer_name: str
    device_type: str
    model: str
    sw_version: str
    fw_version: str
    last_contact_at_ms: int | None
    online: bool
    upgrade: UpgradeView | None
    cancel_action_id: int | None
    attributes: dict[str, str]
    created_at_ms: int
    windows: list[WindowView] = []
    target_token: str | None = None

    @classmethod
    def of(
        cls,
        device: Device,
        upgrade: UpgradeView | None,
        *,
        windows: Iterable[WindowView] = (),
        with_token: bool = False,
    ) -> DeviceView:
        return cls(
            device_id=device.device_id,
            application_id=device.application_id,
            node_id=device.node_id,
            name=device.name,
            manufacturer_name=device.product.manufacturer_name,
            device_type=device.product.device_type,
            model=device.product.model,
            sw_version=device.sw_version,
            fw_version=device.fw_version,
            last_contact_at_ms=device.last_contact_at_ms,
            online=device.online,
            upgrade=upgrade,
            cancel_action_id=device.cancel_action_id,
            attributes=dict(device.attributes),
            created_at_ms=device.created_at_ms,
            windows=list(windows),
            target_token=device.target_token if with_token else None,
        )


class GroupToCreate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device group to make; it takes any number of devices without ``devices_most``."""

    name: str
    description: str = ""
    devices_most: int = 0
    device_ids: list[str] = []


class GroupChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a device group; what is left out stays."""

    name: str | None = None
    description: str | None = None
    devices_most: int | None = None


class GroupDevices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Devices to put into a group, or to take out of it; at most 1,000."""

    device_ids: list[str] = []


class GroupView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a device group; it takes any number of devices where ``devices_most`` is 0."""

    group_id: str
    application_id: str
    name: str
    description: str
    devices: int
    devices_most: int
    created_at_ms: int

    @classmethod
    def of(cls, group: Group) -> GroupView:
        return cls(
            group_id=group.group_id,
            application_id=group.application_id,
            name=group.name,
            description=group.description,
            devices=group.device_count,
            devices_most=group.devices_most,
            created_at_ms=group.created_at_ms,
        )


class MemberView(msgspec.Struct, frozen=True, kw_only=True):
    """A device of a group."""

    device_id: str
    node_id: str

    @classmethod
    def of(cls, device_id: str, device: Device | None) -> MemberView:
        return cls(device_id=device_id, node_id="" if device is None else device.node_id)


class PackageView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a package."""

    file_id: str
    application_id: str
    kind: Kind
    name: str
    version: str
    file_name: str
    size_bytes: int
    sha256: str
    manufacturer_name: str
    device_type: str
    model: str
    uploaded_at_ms: int

    @classmethod
    def of(cls, package: Package) -> PackageView:
        return cls(
            file_id=package.file_id,
            application_id=package.application_id,
            kind=_KINDS[package.kind],
            name=package.name,
            version=package.version,
            file_name=package.file_name,
            size_bytes=package.size_bytes,
            sha256=package.digests.sha256,
            manufacturer_name=package.product.manufacturer_name,
            device_type=package.product.device_type,
            model=package.product.model,
            uploaded_at_ms=package.uploaded_at_ms,
        )


class NewTask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task to create, for devices or for those in groups that are the product; its kind is the package's
    unless it is said.
    """

    file_id: str
    device_ids: list[str] = []
    groups: list[str] = []  # names
    manufacturer_name: str = ""
    device_type: str = ""
    model: str = ""
    kind: Kind | None = None
    policy: dict[str, Any] | None = None


class TallyView(msgspec.Struct, frozen=True, kw_only=True):
    """How many sub tasks stand where; ``timeout`` counts some of ``fail``."""

    total: int
    wait: int
    processing: int
    success: int
    fail: int
    stop: int
    timeout: int = 0

    @classmethod
    def of(cls, tally: Tally) -> TallyView:
        return cls(
            total=tally.total,
            wait=tally.wait,
            processing=tally.processing,
            success=tally.success,
            fail=tally.fail,
            stop=tally.stop,
            timeout=tally.timeout,
        )

    @property
    def ended(self) -> int:
        return self.success + self.fail + self.stop


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a task; what it waits for is due at ``due_at_ms``, if at a time."""

    operation_id: str
    application_id: str
    kind: Kind
    file_id: str
    target_version: str
    status: str
    waits_for: Literal["nothing", "devices", "making", "window", "retry", "stop"]
    due_at_ms: int | None
    retries_left: int
    tally: TallyView
    created_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None

    @classmethod
    def of(cls, task: UpgradeTask, tally: Tally) -> TaskView:
        return cls(
            operation_id=task.operation_id,
            application_id=task.application_id,
            kind=_KINDS[task.kind],
            file_id=task.file_id,
            target_version=task.target_version,
            status=task.status.wire_name,
            waits_for=task.waits_for.value,
            due_at_ms=task.course.due_at_ms,
            retries_left=task.course.retries_left,
            tally=TallyView.of(tally),
            created_at_ms=task.created_at_ms,
            started_at_ms=task.started_at_ms,
            ended_at_ms=task.ended_at_ms,
        )


class SubTaskView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of one device's share."""

    sub_operation_id: str
    device_id: str
    status: str
    action_id: int
    started_at_ms: int | None
    ended_at_ms: int | None
    detail: str

    @classmethod
    def of(cls, share: SubTask) -> SubTaskView:
        return cls(
            sub_operation_id=share.sub_operation_id,
            device_id=share.device_id,
            status=share.status.wire_name,
            action_id=share.action_id,
            started_at_ms=share.started_at_ms,
            ended_at_ms=share.ended_at_ms,
            detail=share.detail,
        )


StandingWord = Literal["waiting", "delivered", "dead", "superseded"]


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True):
    """One message on its way to one endpoint. ``replay_of`` is the delivery that this one sends again."""

    delivery_id: int
    webhook_id: str
    endpoint_id: int
    application_id: str
    device_id: str
    operation_id: str
    sub_operation_id: str
    notify_type: str
    sequence: int
    standing: StandingWord
    reason: str | None
    attempts: int
    made_at_ms: int
    ended_at_ms: int | None
    due_at_ms: int | None
    replay_of: int | None

    @classmethod
    def of(cls, delivery: Delivery, webhook_id: str) -> DeliveryView:
        return cls(
            delivery_id=delivery.delivery_id,
            webhook_id=webhook_id,
            endpoint_id=delivery.endpoint_id,
            application_id=delivery.application_id,
            device_id=delivery.device_id,
            operation_id=delivery.operation_id,
            sub_operation_id=delivery.sub_operation_id,
            notify_type=delivery.notify_type,
            sequence=delivery.sequence,
            standing=_STANDINGS[delivery.standing],
            reason=delivery.reason,
            attempts=delivery.attempts,
            made_at_ms=delivery.made_at_ms,
            ended_at_ms=delivery.ended_at_ms,
            due_at_ms=delivery.due_at_ms,
            replay_of=delivery.replay_of,
        )


_STANDINGS: Final[Mapping[Standing, StandingWord]] = {
    Standing.WAITING: "waiting",
    Standing.DELIVERED: "delivered",
    Standing.DEAD: "dead",
    Standing.SUPERSEDED: "superseded",
}


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """One POST: ``trouble`` is the class of its failure, ``text`` what came back or what went wrong."""

    number: int
    at_ms: int
    took_ms: int
    address: str
    status: int | None
    trouble: str | None
    text: str

    @classmethod
    def of(cls, number: int, tried: Tried) -> AttemptView:
        return cls(
            number=number,
            at_ms=tried.at_ms,
            took_ms=tried.took_ms,
            address=tried.address,
            status=tried.status,
            trouble=tried.trouble,
            text=tried.text,
        )


class TracedView(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery with every attempt whose end was seen; a missing number was under way at a stop."""

    delivery: DeliveryView
    attempts: list[AttemptView]

    @classmethod
    def of(cls, traced: Traced, webhook_id: str) -> TracedView:
        return cls(
            delivery=DeliveryView.of(traced.delivery, webhook_id),
            attempts=[AttemptView.of(number, tried) for number, tried in traced.attempts],
        )


class NotificationView(msgspec.Struct, frozen=True, kw_only=True):
    """What was told, byte for byte, and how it went to everyone who wanted it."""

    webhook_id: str
    body: str
    deliveries: list[TracedView]


class FoundDeliveries(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries, the newest first. ``next`` is the ``before`` of the next part; null: there is no more.

    A part may be short, even empty, and more to come: one look reads a bounded number of rows.
    """

    items: list[DeliveryView]
    next: int | None


class ToReplay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which deliveries to send again: those that fit everything that is given. Times are of the messages."""

    application_id: str | None = None
    endpoint_id: int | None = None
    device_id: str | None = None
    operation_id: str | None = None
    sub_operation_id: str | None = None
    standing: StandingWord | None = None
    from_ms: int | None = None
    before_ms: int | None = None
    only_dead: bool = False
    """Only what is dead and was not sent again yet."""


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """How many deliveries are sent again."""

    count: int


class ChaosView(msgspec.Struct, frozen=True, kw_only=True):
    """What goes wrong at an endpoint because somebody asked for it; the shares are from 0 to 1."""

    ends_at_ms: int
    delay_least_s: float
    delay_most_s: float
    duplicate: float
    reorder: float
    refuse: float
    seed: int

    @classmethod
    def of(cls, chaos: Chaos | None, *, at_ms: int) -> ChaosView | None:
        """None when it is over."""
        if chaos is None or not chaos.active(at_ms):
            return None
        return cls(**msgspec.structs.asdict(chaos))


class EndpointView(msgspec.Struct, frozen=True, kw_only=True):
    """One callback URL of one application, and how it fares.

    ``state`` is ``healthy``, ``failing``, ``paused`` or ``gone`` (it answered 410). ``breaker`` is
    ``closed``, ``open`` or ``half-open``. ``certificate`` is the warning that its certificate deserves, null
    while there is time.
    """

    endpoint_id: int
    application_id: str
    url: str
    state: Literal["healthy", "failing", "paused", "gone"]
    breaker: str
    failures: int
    reason: str
    failing_since_ms: int | None
    rests_until_ms: int | None
    waiting: int
    oldest_waiting_ms: int | None
    paused_at_ms: int | None
    rate_per_s: float | None = None
    chaos: ChaosView | None = None
    gone_at_ms: int | None
    certificate_ends_ms: int | None
    certificate: str | None
    notify_types: list[str]

    @classmethod
    def of(cls, seen: Seen, *, at_ms: int, oldest_waiting_ms: int | None = None) -> EndpointView:
        endpoint, health = seen.endpoint, seen.endpoint.health
        ends_ms = endpoint.certificate_ends_ms
        return cls(
            endpoint_id=endpoint.endpoint_id,
            application_id=endpoint.application_id,
            url=endpoint.url,
            state=_state(endpoint),
            breaker=seen.breaker,
            failures=health.failures,
            reason=health.reason,
            failing_since_ms=health.since_ms if health.failing else None,
            rests_until_ms=health.rests_until_ms if health.failing else None,
            waiting=seen.waiting,
            oldest_waiting_ms=oldest_waiting_ms,
            paused_at_ms=endpoint.paused_at_ms,
            rate_per_s=endpoint.rate_per_s,
            chaos=ChaosView.of(endpoint.chaos, at_ms=at_ms),
            gone_at_ms=endpoint.gone_at_ms,
            certificate_ends_ms=ends_ms,
            certificate=None if ends_ms is None else certificate_warning(ends_ms, at_ms=at_ms),
            notify_types=list(seen.notify_types),
        )


def _state(endpoint: Endpoint) -> Literal["healthy", "failing", "paused", "gone"]:
    if endpoint.gone_at_ms is not None:
        return "gone"
    if endpoint.paused_at_ms is not None:
        return "paused"
    return "failing" if endpoint.health.failing else "healthy"


class Rate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many posts a second at most; null: as many as the endpoint takes."""

    rate_per_s: float | None = None


class ChaosToMake(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to go wrong at an endpoint; at least one thing.

    Each message leaves later by something between ``delay_least_s`` and ``delay_most_s`` (at most 60). Then
    there are shares from 0 to 1: ``duplicate`` of the messages are posted twice; ``reorder`` of them wait,
    at most two seconds, until one of another device has overtaken them; ``refuse`` of the posts fail without
    asking the endpoint. ``for_s`` is how long all that lasts, at most 24 hours. Another ``seed`` gives the
    bad luck to other messages.
    """

    delay_least_s: float = 0.0
    delay_most_s: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    refuse: float = 0.0
    seed: int = 1
    for_s: int = 3600

    def chaos(self, *, at_ms: int) -> Chaos:
        """It, from now on.

        Raises:
            InputInvalid: it does nothing, or more than can be.
        """
        return Chaos(
            ends_at_ms=at_ms + self.for_s * 1000,
            delay_least_s=self.delay_least_s,
            delay_most_s=self.delay_most_s,
            duplicate=self.duplicate,
            reorder=self.reorder,
            refuse=self.refuse,
            seed=self.seed,
        )


class UrlToTest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A callback URL to send a test message to."""

    url: str


class FactView(msgspec.Struct, frozen=True):
    """Something that was seen."""

    name: str
    value: str


class StepView(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a test; a step that is ok may have an advice too."""

    part: Literal["name", "connection", "tls", "answer"]
    outcome: Literal["ok", "failed", "not reached"]
    took_ms: int | None
    facts: list[FactView]
    reason: str
    advice: str

    @classmethod
    def of(cls, step: Step) -> StepView:
        return cls(
            part=step.part.value,
            outcome=step.outcome.value,
            took_ms=step.took_ms,
            facts=[FactView(name, value) for name, value in step.facts],
            reason=step.reason,
            advice=step.advice,
        )


class ExaminationView(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a test: whether a push would have been delivered, and the steps in order."""

    url: str
    webhook_id: str
    passed: bool
    steps: list[StepView]

    @classmethod
    def of(cls, examined: Examined) -> ExaminationView:
        return cls(
            url=examined.url,
            webhook_id=examined.webhook_id,
            passed=examined.examination.passed,
            steps=[StepView.of(step) for step in examined.examination.steps],
        )
