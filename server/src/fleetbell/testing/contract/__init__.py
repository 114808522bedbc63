"""What every store promises, as tests.

An adapter's test module inherits :class:`StoreContract` and gives it a fixture ``store``, an empty store for
each test.
"""

from __future__ import annotations

from fleetbell.testing.contract.application import ApplicationsContract
from fleetbell.testing.contract.delivery import FanOutContract, LanesContract
from fleetbell.testing.contract.device import DevicesContract
from fleetbell.testing.contract.endpoint import EndpointsContract
from fleetbell.testing.contract.group import GroupsContract
from fleetbell.testing.contract.log import DeliveryLogContract
from fleetbell.testing.contract.notification import PullContract
from fleetbell.testing.contract.package import PackagesContract
from fleetbell.testing.contract.subscription import SubscriptionsContract, UnsubscribeContract
from fleetbell.testing.contract.task import TasksContract
from fleetbell.testing.contract.works import WorksContract


class StoreContract(
    WorksContract,
    ApplicationsContract,
    DevicesContract,
    GroupsContract,
    PackagesContract,
    TasksContract,
    SubscriptionsContract,
    FanOutContract,
    LanesContract,
    UnsubscribeContract,
    EndpointsContract,
    DeliveryLogContract,
    PullContract,
):
    """All of it."""
