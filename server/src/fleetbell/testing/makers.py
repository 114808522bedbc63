"""Makers of domain values, so that a test names only what it is about.

What is made by default fits together: application ``app-1`` has device ``dev-1``, package ``pkg-1`` and task
``op-1``, whose sub task for that device is ``sop-dev-1``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fleetbell.domain.application import Application, CallbackCa, ClientCertificate, Rotating, Token, digest
from fleetbell.domain.delivery import Head
from fleetbell.domain.device import Device, Product
from fleetbell.domain.group import Group
from fleetbell.domain.notification import Notification
from fleetbell.domain.package import Digests, Package
from fleetbell.domain.policy import Window
from fleetbell.domain.signing_key import SigningKey
from fleetbell.domain.subscription import Subscription
from fleetbell.domain.subtask import Attempt, SubTaskStatus, UpgradeKind, UpgradeState
from fleetbell.domain.task import Course, TaskStatus, UpgradeTask
from fleetbell.domain.token import ApiToken
from fleetbell.testing.clock import START_MS

STATE_CHANGE = "swUpgradeStateChangeNotify"
RESULT = "swUpgradeResultNotify"
URL = "https://receiver.example:8443/push"
LOGIN_SECRET = "the login secret of a test"  # noqa: S105 - opens nothing
SIGNING_SECRET = "whsec_c2lnbnMgdGhlIHB1c2ggbWVzc2FnZXMgb2YgYSB0ZXN0"  # noqa: S105 - as above

# The first example of RFC 8032, section 7.1.
PRIVATE_KEY = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
PUBLIC_KEY = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


def an_application(
    application_id: str = "app-1",
    *,
    name: str = "Water meters",
    login: Rotating | None = None,
    signing: Rotating | None = None,
    created_at_ms: int = START_MS,
    ddi_tenant: str | None = None,
    gateway_token: str | None = None,
    calls_per_window: int | None = None,
) -> Application:
    """An application; its login secret is :data:`LOGIN_SECRET`."""
    return Application(
        application_id=application_id,
        name=name,
        login=login or Rotating(digest(LOGIN_SECRET)),
        signing=signing or Rotating(SIGNING_SECRET),
        created_at_ms=created_at_ms,
        ddi_tenant=ddi_tenant,
        gateway_token=gateway_token,
        calls_per_window=calls_per_window,
    )


def a_ca(ca_id: str = "ca-1", *, application_id: str = "app-1", pem: str = "no certificate") -> CallbackCa:
    """A CA as stored; its text is not a certificate unless given."""
    return CallbackCa(
        ca_id=ca_id,
        application_id=application_id,
        subject=f"CN={ca_id}",
        pem=pem,
        not_after_ms=START_MS + 86_400_000,
        added_at_ms=START_MS,
    )


def a_client_certificate(
    application_id: str = "app-1",
    *,
    subject: str = "CN=Fleetbell",
    certificate_pem: str = "no certificate",
    key_pem: str = "no key",
) -> ClientCertificate:
    """A client certificate as stored; its texts are none unless given."""
    return ClientCertificate(
        application_id=application_id,
        subject=subject,
        certificate_pem=certificate_pem,
        key_pem=key_pem,
        not_after_ms=START_MS + 86_400_000,
        set_at_ms=START_MS,
    )


def a_signing_key(
    key_id: str = "key-1",
    *,
    application_id: str = "app-1",
    private_key: str = PRIVATE_KEY,
    public_key: str = PUBLIC_KEY,
    made_at_ms: int = START_MS,
    signs_from_ms: int = START_MS,
    signs_until_ms: int | None = None,
) -> SigningKey:
    """A signing key that signs at once and has no end."""
    return SigningKey(
        key_id=key_id,
        application_id=application_id,
        private_key=private_key,
        public_key=public_key,
        made_at_ms=made_at_ms,
        signs_from_ms=signs_from_ms,
        signs_until_ms=signs_until_ms,
    )


def a_token(
    token: str = "token-1",  # noqa: S107 - opens nothing
    *,
    application_id: str = "app-1",
    access: bool = True,
    expires_at_ms: int = START_MS + 3_600_000,
) -> Token:
    """A token as stored; ``token`` is what its holder shows."""
    return Token(
        token_digest=digest(token),
        application_id=application_id,
        access=access,
        expires_at_ms=expires_at_ms,
    )


def an_api_token(
    token_id: str = "tok-1",  # noqa: S107 - opens nothing
    *,
    name: str = "grafana",
    application_id: str | None = None,
    expires_at_ms: int | None = None,
    last_used_on: str | None = None,
) -> ApiToken:
    """An API token as stored; what its holder shows is ``token `` and its id."""
    return ApiToken(
        token_id=token_id,
        token_digest=digest(f"token {token_id}"),
        name=name,
        application_id=application_id,
        created_at_ms=START_MS,
        expires_at_ms=expires_at_ms,
        last_used_on=last_used_on,
    )


def a_device(
    device_id: str = "dev-1",
    *,
    application_id: str = "app-1",
    node_id: str | None = None,
    created_at_ms: int = START_MS,
    name: str = "",
    product: Product | None = None,
    target_token: str | None = None,
    sw_version: str = "1.0",
    fw_version: str = "F1.0",
    attributes: Mapping[str, str] | None = None,
    attributes_wanted: bool = True,
    last_contact_at_ms: int | None = None,
    online: bool = False,
    action_id: int | None = None,
) -> Device:
    """A device; its node id is ``node-of-`` its id unless given."""
    return Device(
        device_id=device_id,
        application_id=application_id,
        node_id=f"node-of-{device_id}" if node_id is None else node_id,
        created_at_ms=created_at_ms,
        modified_at_ms=created_at_ms,
        name=name,
        product=product or Product(),
        target_token=target_token,
        sw_version=sw_version,
        fw_version=fw_version,
        attributes=attributes or {},
        attributes_wanted=attributes_wanted,
        last_contact_at_ms=last_contact_at_ms,
        online=online,
        action_id=action_id,
    )


def a_group(
    group_id: str = "grp-1",
    *,
    application_id: str = "app-1",
    name: str | None = None,
    description: str = "",
    devices_most: int = 0,
    created_at_ms: int = START_MS,
) -> Group:
    """A group without devices; its name is ``name of`` its id unless given."""
    return Group(
        group_id=group_id,
        application_id=application_id,
        name=f"name of {group_id}" if name is None else name,
        description=description,
        devices_most=devices_most,
        created_at_ms=created_at_ms,
    )


def a_package(
    file_id: str = "pkg-1",
    *,
    application_id: str = "app-1",
    kind: UpgradeKind = UpgradeKind.SOFTWARE,
    version: str = "2.0",
    product: Product | None = None,
    size_bytes: int = 1024,
    module_id: int = 0,
) -> Package:
    """A package; its digests are of nothing."""
    return Package(
        file_id=file_id,
        application_id=application_id,
        kind=kind,
        name=f"name of {file_id}",
        version=version,
        file_name=f"{file_id}.bin",
        size_bytes=size_bytes,
        digests=Digests(sha256="0" * 64, sha1="0" * 40, md5="0" * 32),
        uploaded_at_ms=START_MS,
        product=product or Product(),
        module_id=module_id,
    )


def a_task(
    operation_id: str = "op-1",
    *,
    application_id: str = "app-1",
    kind: UpgradeKind = UpgradeKind.SOFTWARE,
    file_id: str = "pkg-1",
    target_version: str = "2.0",
    device_ids: Sequence[str] = ("dev-1",),
    policy: Mapping[str, object] | None = None,
    status: TaskStatus = TaskStatus.WAIT,
    created_at_ms: int = START_MS,
    groups: Sequence[str] = (),
    product: Product | None = None,
    members: int = 0,
    window: Window | None = None,
    retry_wait_ms: int = 0,
    course: Course | None = None,
) -> UpgradeTask:
    """A task that has not begun; :func:`shares_of` gives its sub tasks."""
    return UpgradeTask(
        operation_id=operation_id,
        application_id=application_id,
        kind=kind,
        file_id=file_id,
        target_version=target_version,
        device_ids=tuple(device_ids),
        policy=policy,
        status=status,
        created_at_ms=created_at_ms,
        groups=tuple(groups),
        product=product or Product(),
        members=members,
        window=window,
        retry_wait_ms=retry_wait_ms,
        course=course or Course(),
    )


def shares_of(task: UpgradeTask) -> list[tuple[str, str]]:
    """The sub operation id and the device id of each share of a task.

    >>> shares_of(a_task(device_ids=["dev-7"]))
    [('sop-dev-7', 'dev-7')]
    >>> shares_of(a_task("op-2", device_ids=["dev-7"]))
    [('sop-dev-7-of-op-2', 'dev-7')]
    """
    suffix = "" if task.operation_id == "op-1" else f"-of-{task.operation_id}"
    return [(f"sop-{device_id}{suffix}", device_id) for device_id in task.device_ids]


def an_attempt(
    action_id: int = 1,
    *,
    number: int = 1,
    sub_operation_id: str | None = None,
    operation_id: str = "op-1",
    application_id: str = "app-1",
    device_id: str = "dev-1",
    kind: UpgradeKind = UpgradeKind.SOFTWARE,
    target_version: str = "2.0",
    state: UpgradeState = UpgradeState.IDLE,
    status: SubTaskStatus = SubTaskStatus.WAIT,
    started_at_ms: int | None = None,
    ended_at_ms: int | None = None,
    source_version: str | None = None,
    device_version: str = "1.0",
    step_at_ms: int | None = None,
) -> Attempt:
    """An attempt of which nothing was reported yet."""
    return Attempt(
        action_id=action_id,
        number=number,
        sub_operation_id=f"sop-{device_id}" if sub_operation_id is None else sub_operation_id,
        operation_id=operation_id,
        application_id=application_id,
        device_id=device_id,
        kind=kind,
        target_version=target_version,
        state=state,
        status=status,
        started_at_ms=started_at_ms,
        ended_at_ms=ended_at_ms,
        source_version=source_version,
        device_version=device_version,
        step_at_ms=step_at_ms,
    )


def a_subscription(
    notify_type: str = STATE_CHANGE,
    url: str = URL,
    *,
    application_id: str = "app-1",
    subscription_id: str | None = None,
    created_at_ms: int = START_MS,
) -> Subscription:
    """A subscription; its id is made of its three parts unless given."""
    return Subscription(
        subscription_id=subscription_id or f"{application_id} {notify_type} {url}",
        application_id=application_id,
        notify_type=notify_type,
        callback_url=url,
        created_at_ms=created_at_ms,
    )


def a_notification(
    body: str = "{}",
    *,
    notify_type: str = STATE_CHANGE,
    application_id: str = "app-1",
    device_id: str = "dev-1",
    operation_id: str = "op-1",
    sub_operation_id: str = "sop-dev-1",
    made_at_ms: int = START_MS,
) -> Notification:
    """A notification whose body is whatever the test finds easy to tell apart."""
    return Notification(
        notify_type=notify_type,
        application_id=application_id,
        device_id=device_id,
        operation_id=operation_id,
        sub_operation_id=sub_operation_id,
        body=body,
        made_at_ms=made_at_ms,
    )


def a_head(
    body: str = "{}",
    *,
    lane_id: int = 1,
    fence: int = 1,
    delivery_id: int = 1,
    endpoint_id: int = 1,
    notification_id: int = 1,
    sequence: int = 1,
    attempt: int = 1,
    skipped: int = 0,
    made_at_ms: int = START_MS,
    spent: int = 0,
    tried_at_ms: int = 0,
    replay_of: int = 0,
    notify_type: str = STATE_CHANGE,
) -> Head:
    """A claimed head on its first attempt."""
    return Head(
        lane_id=lane_id,
        fence=fence,
        delivery_id=delivery_id,
        endpoint_id=endpoint_id,
        notification_id=notification_id,
        sequence=sequence,
        attempt=attempt,
        skipped=skipped,
        made_at_ms=made_at_ms,
        body=body,
        notify_type=notify_type,
        spent=spent,
        tried_at_ms=tried_at_ms,
        replay_of=replay_of,
    )
