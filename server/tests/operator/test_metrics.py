"""Metrics: named as their page says, read from plain numbers, and not for everyone."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fleetbell import __version__
from fleetbell.operator.app import Doors, doors
from fleetbell.operator.metrics import METRICS, Metric, exposition, page
from fleetbell.ports.reports import Recorded
from fleetbell.ports.store import Transaction
from fleetbell.testing.makers import RESULT, STATE_CHANGE, a_notification, a_subscription
from server.tests.operator.conftest import Platform, client_of

PAGE = Path(__file__).parents[3] / "docs/reference/metrics.md"
URL = "http://operator/metrics"
URL_OF_ONE = "https://receiver.example:8443/push"


async def scraped(door: httpx2.AsyncClient) -> dict[str, dict[tuple[str, ...], float]]:
    """The values by name and by the values of their labels, which are in the order of the labels' names."""
    answer = await door.get(URL)
    assert answer.status_code == 200, answer.text
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = (
                sample.value
            )
    return found


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


async def test_a_scrape_has_exactly_the_metrics_of_the_page(door: httpx2.AsyncClient) -> None:
    text = (await door.get(URL)).text

    families = {
        (
            f"{family.name}_total" if family.type == "counter" else family.name,
            family.type,
            family.documentation,
        )
        for family in text_string_to_metric_families(text)
        if family.name.startswith("fleetbell_")
    }
    assert families == {(each.name, each.kind, each.about) for each in METRICS}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_named_as_prometheus_wants_it(metric: Metric) -> None:
    """A counter ends in _total, and what is measured has its unit in its name."""
    assert metric.name.startswith("fleetbell_")
    assert metric.name.endswith("_total") is (metric.kind == "counter")
    assert not metric.name.endswith(("_ms", "_s"))
    assert metric.about.endswith(".")


async def test_the_process_itself_is_measured(door: httpx2.AsyncClient) -> None:
    assert (await scraped(door))["process_resident_memory_bytes"][()] > 1_000_000


async def test_what_the_parts_counted_is_told(door: httpx2.AsyncClient, platform: Platform) -> None:
    platform.sources.reports.recorded[Recorded.MOVED] = 3
    platform.sources.reports.refused = 2
    platform.sources.requests["devices"].by_class[2] = 7

    told = await scraped(door)
    assert told["fleetbell_reports_total"][("accepted",)] == 3
    assert told["fleetbell_reports_total"][("refused",)] == 2
    assert told["fleetbell_reports_total"][("late",)] == 0
    assert told["fleetbell_http_requests_total"]["devices", "2xx"] == 7
    assert told["fleetbell_build_info"] == {(__version__,): 1}
    assert told["fleetbell_deliveries_waiting"] == {(): 0}
    assert told["fleetbell_disk_free_bytes"] == {(): 4096}


async def test_what_became_of_deliveries_is_told_by_type_and_reason(
    door: httpx2.AsyncClient, platform: Platform
) -> None:
    counts = platform.sources.deliveries
    counts.accepted["a"] = 5
    counts.delivered["a"] = 3
    counts.dead["a", "refused"] = 1
    counts.failed["a", "tls"] = 2
    counts.until_delivered.observe(0.004)

    told = await scraped(door)
    assert told["fleetbell_deliveries_accepted_total"] == {("a",): 5}
    assert told["fleetbell_deliveries_delivered_total"] == {("a",): 3}
    assert told["fleetbell_deliveries_dead_total"] == {("refused", "a"): 1}
    assert told["fleetbell_deliveries_superseded_total"] == {(): 0}
    assert told["fleetbell_attempts_failed_total"] == {("tls", "a"): 2}
    assert told["fleetbell_delivery_seconds_bucket"][("0.0025",)] == 0
    assert told["fleetbell_delivery_seconds_bucket"][("0.005",)] == 1
    assert told["fleetbell_endpoints"] == {("closed",): 2, ("open",): 1, ("half-open",): 0}


async def test_what_is_pulled_is_told(door: httpx2.AsyncClient, platform: Platform) -> None:
    platform.sources.pulls.pulled["a"] = 5
    platform.sources.pulls.streams["app-1"] = 2

    told = await scraped(door)
    assert told["fleetbell_notifications_pulled_total"] == {("a",): 5}
    assert told["fleetbell_streams"] == {("app-1",): 2}


async def test_how_long_the_oldest_message_has_waited_is_told_for_each_endpoint_with_one(
    door: httpx2.AsyncClient, platform: Platform
) -> None:
    def work(tx: Transaction) -> None:
        for url in (URL_OF_ONE, URL_OF_ONE + "/other"):
            tx.add_subscription(a_subscription(RESULT, url))
        tx.add_subscription(a_subscription(STATE_CHANGE, URL_OF_ONE))
        notification = a_notification(notify_type=STATE_CHANGE, made_at_ms=platform.clock.now_ms())
        tx.add_notifications([notification], take=lambda _: False, at_ms=platform.clock.now_ms())

    await platform.store.write(work)
    platform.clock.advance(90_500)

    told = await scraped(door)
    assert told["fleetbell_oldest_waiting_seconds"] == {("app-1", "1"): 90.5}
    assert told["fleetbell_deliveries_waiting"] == {(): 1}


async def test_commits_are_spread_over_their_sizes_and_times(
    door: httpx2.AsyncClient, application_id: str
) -> None:
    before, _, after = (
        await scraped(door),
        await door.delete(f"/applications/{application_id}"),
        await scraped(door),
    )

    assert before["fleetbell_commit_works_count"][()] == 1
    assert after["fleetbell_commit_works_count"][()] == after["fleetbell_commit_works_sum"][()] == 2
    assert after["fleetbell_commit_works_bucket"][("1.0",)] == 2
    assert after["fleetbell_commit_seconds_bucket"][("+Inf",)] == 2
    assert 0 < before["fleetbell_commit_seconds_sum"][()] < after["fleetbell_commit_seconds_sum"][()]


@pytest.fixture
def opened(platform: Platform) -> Doors:
    """The doors of a platform whose TCP door only this machine reaches."""
    return doors(
        platform, readiness=platform.readiness, metrics=exposition(platform.sources), open_metrics=True
    )


async def test_on_a_network_metrics_are_for_operators(
    both: Doors, platform: Platform, application_id: str
) -> None:
    mine = await platform.tokens.create("prometheus")
    theirs = await platform.tokens.create("theirs", application_id=application_id)

    statuses = []
    for token in (None, "wrong", theirs.text, mine.text):
        async with client_of(both.tcp, token) as client:
            statuses.append((await client.get(URL)).status_code)
    assert statuses == [401, 401, 403, 200]


async def test_on_this_machine_metrics_need_no_token_and_the_api_still_does(opened: Doors) -> None:
    async with client_of(opened.tcp) as client:
        assert (await client.get(URL)).status_code == 200
        assert (await client.post(URL)).status_code == 405
        assert (await client.get("/devices")).status_code == 401


async def test_openmetrics_is_spoken_where_it_is_asked_for(opened: Doors) -> None:
    async with client_of(opened.tcp) as client:
        answer = await client.get(URL, headers={"Accept": "application/openmetrics-text; version=1.0.0"})

    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
