"""Health checks, metrics and logs of a running hub; and that documents, dashboard and alerts name what it exposes."""

import contextlib
import http.client
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import promql_parser
import psycopg
import pytest
import yaml
from prometheus_client.core import Metric as MetricFamily
from prometheus_client.parser import text_string_to_metric_families
from psycopg import sql
from tests.parts.hub import HUB, HytheServer, server_factory
from tests.parts.process import ROOT, free_port
from tests.security.registry_client import PASSWORD, RegistryClient, basic, bearer

import hythe.telemetry.metrics  # noqa: F401 (defines them)
from hythe.telemetry.instruments import METRICS

DASHBOARD = ROOT / "deploy/grafana/hythe.json"
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
SERIES_SUFFIXES = ("_bucket", "_count", "_sum")
OF_PROMETHEUS = {"up": {"job", "instance"}}
"""Series that Prometheus adds itself."""

ADDED_LABELS = {"instance", "job", "le"}
"""Labels that Prometheus adds to each series; ``le`` is that of buckets."""


class MonitoredHub:
    """A hub with a metrics port, that was used."""

    def __init__(self, server: HytheServer, port: int) -> None:
        self.server = server
        self.port = port

    def families(self) -> dict[str, MetricFamily]:
        """Return what the metrics port exposes, by name."""
        text = httpx2.get(f"http://127.0.0.1:{self.port}/metrics").text
        return {family.name: family for family in text_string_to_metric_families(text)}

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples with these labels."""
        samples = [sample for family in self.families().values() for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MonitoredHub]:
    """A hub after some pushes, pulls and failed sign-ins."""
    port = free_port()
    flags = [
        "--metrics-listen",
        f"127.0.0.1:{port}",
        "--access-log",
        "--log-format",
        "json",
        "--slow-query",
        "0.000001",
    ]
    with server_factory(tmp_path_factory.mktemp("monitored"), HUB) as start:
        server = start([*flags, "--trusted-proxies", "127.0.0.1", "--public-url", "http://hub.example.com"])
        server.create_user("alice", PASSWORD)
        client = RegistryClient(server.url)
        push = bearer(client.access_token(basic("alice"), "repository:alice/app:pull,push")["token"])
        assert client.push("alice/app", push) == 201
        for _ in range(2):
            assert client.status("GET", "/v2/alice/app/manifests/latest", push) == 200
        assert client.status("GET", "/token", basic("alice", "wrong")) == 401
        httpx2.get(f"{server.url}/")
        yield MonitoredHub(server, port)


def test_requests_pulls_pushes_and_failures_are_counted(monitored: MonitoredHub) -> None:
    """Each where it happened, and by the template of its route."""
    manifest = {"route": "/v2/{name}/manifests/{reference}"}

    assert monitored.value("hythe_http_requests_total", method="GET", status="200", **manifest) == 2
    assert monitored.value("hythe_http_request_duration_seconds_count", status_class="2xx", **manifest) == 3
    assert monitored.value("hythe_http_requests_total", route="/", status="200") == 1
    assert monitored.value("hythe_registry_pulls_total") == 2
    assert monitored.value("hythe_registry_pushes_total", kind="image") == 1
    assert monitored.value("hythe_registry_blobs_pushed_total") >= 1
    assert monitored.value("hythe_sign_in_failures_total", method="password", reason="wrong") == 1
    assert monitored.value("hythe_tokens_issued_total", kind="account") == 1
    assert monitored.value("hythe_http_received_bytes_total") > 0
    assert monitored.value("hythe_http_sent_bytes_total") > 0
    assert monitored.value("hythe_database_statement_duration_seconds_count") > 0
    assert monitored.value("process_resident_memory_bytes") > 10**7


def test_what_is_stored_and_waits_is_measured(monitored: MonitoredHub) -> None:
    """Periodically, and not for each scrape; the values are those that the hub shows to administrators."""
    until(lambda: monitored.value("hythe_storage_objects", kind="repositories") == 1, 40)

    assert monitored.value("hythe_storage_bytes", kind="images") > 0
    assert monitored.value("hythe_disk_free_bytes") > 0
    assert monitored.value("hythe_event_loop_lag_seconds_count") > 0


def test_no_label_names_a_repository_or_an_account(monitored: MonitoredHub) -> None:
    """They are private, and there is no bound to their number."""
    found = {
        value for family in monitored.families().values() for each in family.samples for value in each.labels.values()
    }

    assert not {value for value in found if "alice" in value or "app" in value.split("/")}


def test_an_unknown_path_has_no_series_of_its_own(monitored: MonitoredHub) -> None:
    """Or clients could fill the memory of the server and of Prometheus."""
    for path in ("/nothing/here", "/v2/a/b/c", "/api/v1/nothing"):
        assert httpx2.get(monitored.server.url + path).status_code == 404

    routes = {
        sample.labels["route"]
        for family in monitored.families().values()
        for sample in family.samples
        if sample.name == "hythe_http_requests_total" and sample.labels["status"] == "404"
    }
    assert "unmatched" in routes
    assert not {route for route in routes if "nothing" in route}


def test_the_metrics_port_is_the_only_one_with_metrics(monitored: MonitoredHub) -> None:
    """The main port is public, and this one asks for no password."""
    assert httpx2.get(f"{monitored.server.url}/metrics").status_code == 404
    assert httpx2.get(f"http://127.0.0.1:{monitored.port}/healthz").text == "alive\n"
    assert httpx2.get(f"http://127.0.0.1:{monitored.port}/readyz").json()["ready"] is True


def test_open_metrics_are_served_to_those_who_ask(monitored: MonitoredHub) -> None:
    """Prometheus asks for the newer format."""
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    reply = httpx2.get(f"http://127.0.0.1:{monitored.port}/metrics", headers={"Accept": accept})

    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    assert reply.text.endswith("# EOF\n")


def test_the_document_lists_exactly_the_metrics(monitored: MonitoredHub) -> None:
    """Name, kind, labels and meaning are those that a hub exposes."""
    text = (ROOT / "docs/monitoring.md").read_text()
    rows = [
        f"| `{each.name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels) or '-'} | {each.meaning} |"
        for each in METRICS.values()
    ]
    exposed = {sample.name for family in monitored.families().values() for sample in family.samples}
    unlabelled = {each.name for each in METRICS.values() if each.kind != "histogram" and not each.labels}

    assert [row for row in rows if row not in text] == []
    assert set(re.findall(r"^\| `((?:hythe|process)_\w+)` \|", text, re.MULTILINE)) == set(METRICS)
    assert unlabelled <= exposed
    assert {_base(name) for name in exposed} <= set(METRICS)


def _base(name: str) -> str:
    if name in METRICS:
        return name
    return next(name.removesuffix(suffix) for suffix in SERIES_SUFFIXES if name.endswith(suffix))


def test_the_dashboard_uses_metrics_and_labels_that_exist() -> None:
    """Each query of each panel; and Grafana's variables are those that the dashboard defines."""
    dashboard = json.loads(DASHBOARD.read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    variables = {each["name"] for each in dashboard["templating"]["list"]}

    assert len(queries) > 30
    assert {name for query in queries for name in re.findall(r"\$(\w+)", query)} <= variables | {"__rate_interval"}
    problems = {query: found for query in queries if (found := wrong_names(query))}
    assert problems == {}
    for panel in panels:
        assert panel["title"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}


def test_alerts_use_metrics_and_labels_that_exist_and_are_documented() -> None:
    """Each expression; and the document has a row for each alert."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    documented = re.findall(r"^\| `(Hythe\w+)` \|", (ROOT / "docs/monitoring.md").read_text(), re.MULTILINE)

    assert {rule["alert"]: found for rule in rules if (found := wrong_names(rule["expr"]))} == {}
    assert [rule["alert"] for rule in rules] == documented
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]


def wrong_names(query: str) -> set[str]:
    """Return the metrics and labels in a query that no server exposes."""
    return set(_wrong(promql_parser.parse(query.replace("$__rate_interval", "5m").replace("$instance", ".*"))))


def _wrong(node: Any) -> Iterator[str]:
    match node:
        case promql_parser.VectorSelector():
            labels = _labels_of(node.name)
            if labels is None:
                yield node.name
            else:
                yield from (f"{node.name}{{{each.name}}}" for each in node.matchers.matchers if each.name not in labels)
        case promql_parser.MatrixSelector():
            yield from _wrong(node.vector_selector)
        case promql_parser.AggregateExpr():
            yield from _wrong(node.expr)
            known = {label for name in _names(node.expr) for label in _labels_of(name) or ()}
            if node.modifier is not None:
                yield from (f"by {label}" for label in node.modifier.labels if label not in known)
        case _:
            for operand in _operands(node):
                yield from _wrong(operand)


def _operands(node: Any) -> tuple[Any, ...]:
    match node:
        case promql_parser.BinaryExpr():
            return node.lhs, node.rhs
        case promql_parser.Call():
            return tuple(node.args)
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            return (node.expr,)
        case promql_parser.NumberLiteral() | promql_parser.StringLiteral():
            return ()
    raise TypeError(f"the test does not know {node!r}")


def _names(node: Any) -> Iterator[str]:
    """Yield the names of all series in an expression, as PromQL writes them."""
    return iter(re.findall(r"\b(?:hythe|process)_\w+|\bup\b", node.prettify()))


def _labels_of(name: str) -> set[str] | None:
    if name in OF_PROMETHEUS:
        return OF_PROMETHEUS[name]
    metric = METRICS.get(name)
    if metric is not None and metric.kind != "histogram":
        return {*metric.labels, *ADDED_LABELS - {"le"}}
    for suffix in SERIES_SUFFIXES:
        histogram = METRICS.get(name.removesuffix(suffix))
        if name.endswith(suffix) and histogram is not None and histogram.kind == "histogram":
            return {*histogram.labels, *ADDED_LABELS}
    return None


@pytest.mark.parametrize(
    "query",
    [
        "hythe_nothing_total",
        "hythe_build_duration_seconds",
        'rate(hythe_http_requests_total{code="5"}[5m])',
        "sum by (kind) (hythe_http_requests_total)",
        "1 - hythe_nothing_total / hythe_ready",
    ],
)
def test_the_check_of_queries_finds_mistakes(query: str) -> None:
    """Names and labels that do not exist, wherever they are."""
    assert wrong_names(query)


def log_lines(server: HytheServer) -> list[dict[str, Any]]:
    """Return the lines of a log in JSON."""
    return [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]


def request(server: HytheServer, method: str, path: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
    """Send a request exactly as it is given."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request(method, path, headers=dict(headers))
    return connection.getresponse()


def test_the_id_of_a_trusted_proxy_is_in_response_and_log(monitored: MonitoredHub) -> None:
    """So that the log of the proxy and that of the hub name the same request."""
    reply = request(monitored.server, "GET", "/token", {"X-Request-Id": "proxy-4711", **basic("alice", "wrong")})

    assert reply.getheader("X-Request-Id") == "proxy-4711"
    wanted = {"request", "failed sign-in from 127.0.0.1: wrong password"}
    until(lambda: wanted <= {line["event"] for line in lines_of(monitored.server, "proxy-4711")})


def lines_of(server: HytheServer, request_id: str) -> list[dict[str, Any]]:
    """Return the lines that were logged for a request."""
    return [line for line in log_lines(server) if line.get("request_id") == request_id]


@pytest.mark.parametrize("given", ["short", "a" * 65, 'x"} y z 1 2 3', "newlines-é-are-not"])
def test_ids_that_are_not_safe_in_logs_are_replaced(monitored: MonitoredHub, given: str) -> None:
    """Even a proxy passes on what its client sends."""
    reply = request(monitored.server, "GET", "/healthz", {"X-Request-Id": given})

    assert re.fullmatch(r"[0-9a-f]{32}", reply.getheader("X-Request-Id") or "")


def test_the_access_log_names_user_route_and_size(monitored: MonitoredHub) -> None:
    """Also of a response from the cache, for which no one is authenticated again."""
    until(lambda: len([each for each in log_lines(monitored.server) if each.get("status") == 201]) >= 1)
    pulls = [
        line
        for line in log_lines(monitored.server)
        if line["event"] == "request" and line["method"] == "GET" and "/manifests/" in line["path"]
    ]

    assert [line["user"] for line in pulls] == ["alice", "alice"]
    assert pulls[0]["path"] == "/v2/alice/app/manifests/latest"
    assert pulls[0]["status"] == 200
    assert pulls[0]["bytes"] > 100
    assert pulls[0]["remote"] == "127.0.0.1"
    assert pulls[0]["seconds"] > 0


def test_secrets_in_addresses_are_masked(monitored: MonitoredHub) -> None:
    """Who reads the log could otherwise start builds, accept invitations or set passwords."""
    paths = {
        "/u/alice/app/trigger/SECRET-1/": "/u/alice/app/trigger/***",
        "/u/alice/app/%74rigger/SECRET-2": "/u/alice/app/trigger/***",
        "/u/alice/app/hook/SECRET-3/": "/u/alice/app/hook/***",
        "/hooks/SECRET-4": "/hooks/***",
        "/reset-password?token=SECRET-5": "/reset-password?token=***",
        "/invitations/link?token=SECRET-6&page=2": "/invitations/link?token=***&page=2",
        "/search?q=alice%20app": "/search?q=alice+app",
    }
    for path in paths:
        request(monitored.server, "POST", path, {})
    seen = {*paths.values()}
    until(lambda: seen <= {line.get("path") for line in log_lines(monitored.server)})

    assert "SECRET" not in monitored.server.log


def test_slow_statements_are_logged_without_values(monitored: MonitoredHub) -> None:
    """This hub takes every statement for slow."""
    slow = [line["statement"] for line in log_lines(monitored.server) if line["event"] == "slow query"]

    assert [text for text in slow if text.startswith("SELECT") and "users" in text]
    assert not [text for text in slow if "alice" in text]


def test_a_hub_without_its_database_is_alive_and_not_ready(
    start_hub: Callable[..., HytheServer], postgresql_url: str
) -> None:
    """Clients and load balancers get 503 from all that they take for a health check, and no longer afterwards."""
    server = start_hub(database_url=postgresql_url)
    client = RegistryClient(server.url)
    assert client.status("GET", "/readyz") == 200

    with unreachable(postgresql_url):
        until(lambda: client.status("GET", "/readyz") == 503)
        ready = client.send("GET", "/readyz").json()
        base, ping = client.send("GET", "/v2/"), client.send("GET", "/v1/_ping")
        alive = client.send("GET", "/healthz")

    assert ready["ready"] is False
    assert ready["checks"]["database"]["hint"]
    assert ready["checks"]["storage"]["ready"] is True
    assert "127.0.0.1" not in str(ready)
    assert base.status_code == ping.status_code == 503
    assert base.headers["Retry-After"]
    assert ping.headers["Retry-After"]
    assert base.json()["errors"][0]["code"] == "UNAVAILABLE"
    assert alive.status_code == 200
    until(lambda: client.status("GET", "/readyz") == 200)
    assert client.status("GET", "/v2/") == 401
    assert client.status("GET", "/v1/_ping") == 200


@contextlib.contextmanager
def unreachable(url: str) -> Iterator[None]:
    """Let PostgreSQL end all connections to a database, and accept none until the block ends."""
    server, _, name = url.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))


def test_processes_of_a_server_show_the_numbers_of_all(start_hub: Callable[..., HytheServer]) -> None:
    """Whichever of them responds; what a killed process has counted is not lost."""
    port = free_port()
    server = start_hub(["--processes", "2", "--metrics-listen", f"127.0.0.1:{port}"])
    hub = MonitoredHub(server, port)
    for _ in range(20):
        assert httpx2.get(f"{server.url}/healthz").status_code == 200
    counted = lambda: hub.value("hythe_http_requests_total", route="/healthz")  # noqa: E731
    until(lambda: hub.value("hythe_server_processes") == 2)
    until(lambda: [counted() for _ in range(8)] == [20] * 8)  # each connection goes to either of them

    first, *_ = children(server.pid)
    os.kill(first, signal.SIGKILL)
    until(lambda: first not in children(server.pid) and len(children(server.pid)) == 2)

    until(lambda: served(f"http://127.0.0.1:{port}/metrics"))
    until(lambda: [counted() for _ in range(8)] == [20] * 8)


def served(url: str) -> bool:
    """Whether a server responds at this moment."""
    try:
        return httpx2.get(url).status_code == 200
    except httpx2.HTTPError:
        return False


def children(pid: int) -> list[int]:
    """Return the child processes of a process."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_private_registry_has_health_checks_and_metrics(start_private_registry: Callable[..., HytheServer]) -> None:
    """Also where it accepts only known names of hosts, which probes do not know."""
    port = free_port()
    server = start_private_registry(["--metrics-listen", f"127.0.0.1:{port}"])
    registry = MonitoredHub(server, port)

    assert request(server, "GET", "/healthz", {"Host": "probe.example.com"}).status == 200
    assert request(server, "GET", "/readyz", {"Host": "probe.example.com"}).status == 200
    assert request(server, "GET", "/v2/", {}).status == 200
    assert registry.value("hythe_http_requests_total", route="/readyz", status="200") == 1
    assert registry.value("hythe_http_requests_total", route="/v2/", status="200") >= 1
