"""Metrics for Prometheus. Nothing is counted here: a scrape reads the plain numbers that each part keeps.

To add one: a :class:`Metric` in :data:`METRICS`, and the line in :meth:`Figures.collect` that reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import (
    Metric as Family,
)
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from fleetbell import __version__
from fleetbell.operator import problem
from fleetbell.operator.operation import SCOPE
from fleetbell.ports.measures import CommitCounts, PullCounts, ReportCounts, RequestCounts, Spread
from fleetbell.ports.reports import Recorded
from fleetbell.ports.store import Reading, Store
from fleetbell.services.counts import Counts

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """A name, what it counts, and the names of its labels."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    about: str
    labels: Labels = ()


BUILD: Final = Metric("fleetbell_build_info", "gauge", "Always 1; the release is a label.", ("version",))
REQUESTS: Final = Metric(
    "fleetbell_http_requests_total",
    "counter",
    "Requests that were answered, by door (northbound, devices, operator) and class of status.",
    ("door", "status"),
)
REPORTS: Final = Metric(
    "fleetbell_reports_total",
    "counter",
    "Reports of devices, by outcome: accepted (news), repeated (known already), late (its attempt has "
    "ended), unknown (no such attempt), refused (not kept: too much is waiting, or the disk is full).",
    ("outcome",),
)
COMMIT_WORKS: Final = Metric(
    "fleetbell_commit_works", "histogram", "Works that shared one commit of the database."
)
COMMIT_SECONDS: Final = Metric(
    "fleetbell_commit_seconds", "histogram", "Time of one commit, from its first work to stable storage."
)
COMMITS_FAILED: Final = Metric(
    "fleetbell_commits_failed_total", "counter", "Commits of which nothing was kept: a full or failing disk."
)
ACCEPTED: Final = Metric(
    "fleetbell_deliveries_accepted_total",
    "counter",
    "Deliveries that were put into the outbox, one for each endpoint that wants the message.",
    ("type",),
)
DELIVERED: Final = Metric(
    "fleetbell_deliveries_delivered_total", "counter", "Deliveries that a 2xx has ended.", ("type",)
)
DEAD: Final = Metric(
    "fleetbell_deliveries_dead_total",
    "counter",
    "Deliveries that were given up, by reason; those that waited too long have the type all.",
    ("type", "reason"),
)
SUPERSEDED: Final = Metric(
    "fleetbell_deliveries_superseded_total",
    "counter",
    "Deliveries of states that a newer one replaced after an outage, where a subscription asks for that.",
)
REPEATED: Final = Metric(
    "fleetbell_attempts_repeated_total",
    "counter",
    "POSTs that were not the first of their delivery.",
    ("type",),
)
FAILED: Final = Metric(
    "fleetbell_attempts_failed_total",
    "counter",
    "POSTs without a 2xx, by what went wrong: name, closed address, connection, tls, timeout, protocol, "
    "status, chaos.",
    ("type", "trouble"),
)
PULLED: Final = Metric(
    "fleetbell_notifications_pulled_total",
    "counter",
    "Notifications that applications pulled, in pages and streams, as often as each was pulled.",
    ("type",),
)
STREAMS: Final = Metric(
    "fleetbell_streams",
    "gauge",
    "Open event streams; only of applications that had one.",
    ("application_id",),
)
SECONDS: Final = Metric(
    "fleetbell_delivery_seconds", "histogram", "Time from the acceptance of a message to its 2xx."
)
ENDPOINTS: Final = Metric(
    "fleetbell_endpoints",
    "gauge",
    "Endpoints by their breaker: closed (sent to), open (it fails and rests), half-open (a probe is due).",
    ("breaker",),
)
OLDEST: Final = Metric(
    "fleetbell_oldest_waiting_seconds",
    "gauge",
    "How long the oldest message has waited for an endpoint; only of endpoints for which one waits.",
    ("endpoint_id", "application_id"),
)
WAITING: Final = Metric(
    "fleetbell_deliveries_waiting", "gauge", "Deliveries that have not ended, of all applications."
)
DISK_FREE: Final = Metric(
    "fleetbell_disk_free_bytes", "gauge", "Free space on the disk of the data folder, for this user."
)

METRICS: Final = (
    BUILD,
    REQUESTS,
    REPORTS,
    COMMIT_WORKS,
    COMMIT_SECONDS,
    COMMITS_FAILED,
    ACCEPTED,
    DELIVERED,
    DEAD,
    SUPERSEDED,
    REPEATED,
    FAILED,
    SECONDS,
    PULLED,
    STREAMS,
    ENDPOINTS,
    OLDEST,
    WAITING,
    DISK_FREE,
)
"""All of our own, in the order of the page; those of the process come from the Prometheus client."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the numbers are."""

    store: Store
    commits: CommitCounts
    reports: ReportCounts
    deliveries: Counts
    pulls: PullCounts
    breakers: Callable[[], Mapping[str, int]]
    now_ms: Callable[[], int]
    free_bytes: Callable[[], int]
    requests: Mapping[str, RequestCounts] = field(default_factory=dict)  # by door


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits, as the store has it: the one thing that takes longer than a moment to read."""

    waiting: int
    oldest_ms: Mapping[Labels, int]

    @classmethod
    def of(cls, reading: Reading) -> Queue:
        oldest = {
            (str(each.endpoint_id), each.application_id): reading.oldest_waiting_ms(each.endpoint_id)
            for each in reading.endpoints()
        }
        return cls(
            reading.deliveries_waiting(), {key: at_ms for key, at_ms in oldest.items() if at_ms is not None}
        )


class Figures(Collector):
    """Our metrics as they are at this moment; what waits, as it was at the last :meth:`look`."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._queue = Queue(0, {})

    async def look(self) -> None:
        """Read what waits, beside the event loop."""
        self._queue = await self._sources.store.look_up(Queue.of)

    def collect(self) -> Iterator[Family]:
        """Everything in :data:`METRICS`."""
        sources = self._sources
        yield _gauge(BUILD, {(__version__,): 1})
        yield _counter(REQUESTS, dict(_by_class(sources.requests)))
        yield _counter(REPORTS, dict(_by_outcome(sources.reports)))
        yield _histogram(COMMIT_WORKS, sources.commits.works)
        yield _histogram(COMMIT_SECONDS, sources.commits.took_s)
        yield _counter(COMMITS_FAILED, {(): sources.commits.failed})
        yield from self._of_deliveries(sources.deliveries)
        yield _counter(PULLED, _by_type(sources.pulls.pulled))
        yield _gauge(STREAMS, _by_type(sources.pulls.streams))
        yield _gauge(ENDPOINTS, {(state,): count for state, count in sources.breakers().items()})
        now_ms = sources.now_ms()
        oldest_ms = self._queue.oldest_ms.items()
        yield _gauge(OLDEST, {labels: max(0, now_ms - at_ms) / 1000 for labels, at_ms in oldest_ms})
        yield _gauge(WAITING, {(): self._queue.waiting})
        yield _gauge(DISK_FREE, {(): sources.free_bytes()})

    def _of_deliveries(self, counts: Counts) -> Iterator[Family]:
        yield _counter(ACCEPTED, _by_type(counts.accepted))
        yield _counter(DELIVERED, _by_type(counts.delivered))
        yield _counter(DEAD, counts.dead)
        yield _counter(SUPERSEDED, {(): counts.superseded})
        yield _counter(REPEATED, _by_type(counts.repeats))
        yield _counter(FAILED, counts.failed)
        yield _histogram(SECONDS, counts.until_delivered)


def exposition(sources: Sources) -> ASGIApp:
    """The page that Prometheus reads; for operators only, because it tells of all applications."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    figures = Figures(sources)
    registry.register(figures)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        try:
            response = await _answer(request)
        except Exception as error:  # the door is where every error ends
            response = problem.of(error, scope)
        await response(scope, receive, send)

    async def _answer(request: Request) -> Response:
        if not request.scope[SCOPE].everything:
            raise problem.OperatorsOnly("metrics tell of all applications; they are for operators")
        if request.method not in ("GET", "HEAD"):
            return problem.answer(405, f"{request.method} is not possible here", {"Allow": "GET, HEAD"})
        await figures.look()
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": media_type})

    return app


def _by_class(requests: Mapping[str, RequestCounts]) -> Iterable[tuple[Labels, int]]:
    for door, counted in requests.items():
        for first_digit in range(2, 6):
            yield (door, f"{first_digit}xx"), counted.by_class[first_digit]


def _by_outcome(reports: ReportCounts) -> Iterable[tuple[Labels, int]]:
    for outcome, count in reports.recorded.items():
        yield ("accepted" if outcome is Recorded.MOVED else outcome.value,), count
    yield ("refused",), reports.refused


def _by_type(counts: Mapping[str, int]) -> dict[Labels, int]:
    return {(notify_type,): count for notify_type, count in counts.items()}


def _counter(metric: Metric, values: Mapping[Any, float]) -> Family:
    family = CounterMetricFamily(metric.name, metric.about, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _gauge(metric: Metric, values: Mapping[Any, float]) -> Family:
    family = GaugeMetricFamily(metric.name, metric.about, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, spread: Spread) -> Family:
    family = HistogramMetricFamily(metric.name, metric.about, labels=metric.labels)
    buckets, sum_of_all = [], 0
    for bound, count in zip(
        (*map(floatToGoString, spread.bounds), "+Inf"), tuple(spread.places), strict=True
    ):
        sum_of_all += count
        buckets.append((bound, sum_of_all))
    family.add_metric((), buckets, spread.total)
    return family


_PAGE_HEAD: Final = """\
# Metrics

Made from the code; a test fails when this page is out of date, and another when a scrape has other names. To
write it anew: `fleetbell config reference metrics > docs/reference/metrics.md`.

`GET /metrics`, in the format of Prometheus, on the door of the [operator API](operator-api.md). On a loopback
address no token is needed. On any other one an operator's token is. Counters begin at 0 when the process
starts, and a process tells what it has done itself: where the roles are divided, the process with the doors
does not know what the one with `dispatch` has sent. The `process_`, `python_` and `python_gc_` metrics of the
Prometheus client are there too.

| metric | kind | labels | what it is |
|---|---|---|---|
"""


def page() -> str:
    """The reference page of all metrics, in Markdown."""
    return _PAGE_HEAD + "".join(map(_row, METRICS))


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.about} |\n"
