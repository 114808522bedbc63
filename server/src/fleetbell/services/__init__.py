"""One use case per function or small class, with the ports it needs as arguments."""

from __future__ import annotations

from dataclasses import dataclass

from fleetbell.clock import Clock
from fleetbell.ports.store import Store
from fleetbell.services.access import Access
from fleetbell.services.application import Applications
from fleetbell.services.delivery import Deliveries
from fleetbell.services.device import Devices
from fleetbell.services.dispatch import Dispatcher
from fleetbell.services.endpoint import Endpoints
from fleetbell.services.examination import Examinations
from fleetbell.services.group import Groups
from fleetbell.services.notification import Notifications
from fleetbell.services.package import Packages
from fleetbell.services.presence import Presence
from fleetbell.services.progress import Progress
from fleetbell.services.schedule import Scheduler
from fleetbell.services.signing_key import SigningKeys
from fleetbell.services.subscription import Subscriptions
from fleetbell.services.task import Tasks
from fleetbell.services.token import Tokens
from fleetbell.services.upkeep import Upkeep


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """All services of a platform, as the doors are handed them."""

    access: Access
    applications: Applications
    signing_keys: SigningKeys
    devices: Devices
    groups: Groups
    packages: Packages
    tasks: Tasks
    subscriptions: Subscriptions
    notifications: Notifications
    deliveries: Deliveries
    endpoints: Endpoints
    tokens: Tokens
    presence: Presence
    progress: Progress
    dispatcher: Dispatcher
    examinations: Examinations
    scheduler: Scheduler
    upkeep: Upkeep
    store: Store
    clock: Clock
