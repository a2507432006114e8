"""Invalid values from forges, workers and callers of trigger URLs."""

from __future__ import annotations

import json

from tests.faults.bad_values import (
    HEADERS,
    RAW,
    WORKER_TOKEN,
    Tried,
    filled,
    invalid_variants,
    is_anything,
    is_problem,
    paths,
    queries,
    sent,
    tried,
    whole,
)

from hythe.builds.routes import application as build_routes
from hythe.notifications.routes.webhooks import CALLBACK_PATH

__all__ = ["tried", "whole"]


def test_plain_addresses_of_builds(tried: Tried) -> None:
    """Logs, badges, the trigger URL, callbacks of webhooks."""
    plain = [(method, path) for method, path, *_ in build_routes.PLAIN]
    for method, path in (*plain, ("POST", CALLBACK_PATH)):
        if path.endswith("/events"):
            continue
        for bad in (filled(path), *paths(path)):
            tried.send(method, bad, is_problem if path.startswith("/api/") else is_anything)
            tried.send(method, bad, is_anything, **sent({"state": "success"}))
        for query in queries(("start", "branch")):
            tried.send(method, f"{filled(path)}?{query}", is_anything)
    trigger = tried.api("GET", "/repositories/ann/app/build-configuration/trigger")["path"]
    for bad in invalid_variants({"source_type": "branch", "source_name": "b", "docker_tag": "t"}):
        tried.send("POST", trigger, is_problem, **sent(bad))
        tried.send("POST", trigger, is_problem, **sent({"source_name": "b"} | bad))


def test_webhooks_of_forges(tried: Tried) -> None:
    """A delivery is accepted with any text in its commits, because it is sent only once."""
    hook = tried.api(
        "POST", "/repositories/ann/app/build-configuration/forge-webhook", {"hub_url": "https://hub.example.com"}
    )
    address = hook["url"].removeprefix("https://hub.example.com")
    commit = {"id": "1" * 40, "message": "m", "author": {"name": "a", "email": "e"}}
    push = {
        "ref": "refs/heads/main",
        "before": "0" * 40,
        "after": "1" * 40,
        "checkout_sha": "1" * 40,
        "user_username": "u",
        "project": {"path_with_namespace": "team/app"},
        "commits": [commit],
    }
    for number, bad in enumerate(invalid_variants(push)):
        headers = {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": hook["secret"], "Idempotency-Key": str(number)}
        request = sent(bad)
        request["headers"] |= headers
        tried.send("POST", address, is_anything, **request)
    new = {"checkout_sha": "2" * 40, "after": "2" * 40, "before": "1" * 40}
    odd_commit = {**commit, "id": "2" * 40, "message": "a\0b \\u0000"}
    named = json.dumps({**push, **new, "commits": [odd_commit]}).encode()
    signed = {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": hook["secret"], "Idempotency-Key": "last"}
    assert tried.client.post(address, content=named, headers=signed).status_code == 202
    newest = tried.api("GET", "/repositories/ann/app/builds?limit=1")["items"][0]
    assert newest["commit"]["message"] == "a\ufffdb \\u0000"
    for bad in RAW:
        tried.send("POST", f"/hooks/{bad}", is_problem)
    for bad in HEADERS:
        for name in ("X-Gitlab-Event", "Idempotency-Key", "X-Github-Event", "X-Gitlab-Token", "X-Event-Key"):
            tried.send("POST", address, is_anything, headers=signed | {name: bad}, content=named)


def test_workers(tried: Tried) -> None:
    """Workers send third-party text: commit messages, reasons, results."""
    worker = {"Authorization": f"Bearer {WORKER_TOKEN}"}
    calls = {
        "progress": {"steps": [{"name": "s", "status": "running"}]},
        "commit": {"commit": "2" * 40, "message": "m", "author": "a"},
        "token": ["ann/app"],
        "sign": {"payload": "{}"},
    }
    path, lease = _claimed(tried, worker)
    tried.send("POST", f"{path}/log?offset=0", is_problem, content=b"\0\xff\n", headers=lease)
    for what, bad in [(what, bad) for what, body in calls.items() for bad in (body, *invalid_variants(body))]:
        tried.send("POST", f"{path}/{what}", is_problem, **sent(bad) | {"headers": lease})
    end = {"status": "failed", "reason": "r", "digest": "d", "result": {"readme": "r", "dockerfile": "f"}}
    for bad in invalid_variants(end):
        tried.send("POST", f"{path}/finish", is_problem, **sent(bad) | {"headers": lease})
        if not tried.client.post(f"{path}/progress", headers=lease).is_success:
            path, lease = _claimed(tried, worker)
    for bad in invalid_variants({"worker": "w", "wait": 0}):
        tried.send("POST", "/api/v1/workers/claim", is_problem, **sent(bad) | {"headers": worker})
    for bad in RAW:
        for path in (f"{bad}/progress", f"1/{bad}", f"1/log?offset={bad}"):
            tried.send("POST", f"/api/v1/workers/builds/{path}", is_problem, headers=worker)
    for odd in HEADERS:
        shown = worker | {"Hythe-Build-Fence": odd, "Hythe-Build-Key": odd}
        tried.send("POST", "/api/v1/workers/builds/1/progress", is_problem, headers=shown)


def _claimed(tried: Tried, worker: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Claim a build; return its path in the worker API and the headers that prove the lease."""
    while True:
        claim = tried.client.post("/api/v1/workers/claim", json={"worker": "w", "wait": 0}, headers=worker)
        if claim.status_code == 200:
            job = claim.json()
            shown = {"Hythe-Build-Key": job["key"], "Hythe-Build-Fence": str(job["fence"])}
            return f"/api/v1/workers/builds/{job['build_id']}", worker | shown
        tried.api("POST", "/repositories/ann/app/builds", {"source_name": "main"})
