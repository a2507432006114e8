"""Replication between real hubs and Debian's docker-registry: pushes, pulls, deletions, failures and crashes."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.distribution import INDEX, Answer, Client, digest_of, image_manifest, index_manifest
from tests.parts.docker_registry import DockerRegistry, docker_registry_server
from tests.parts.hub import HUB, REGISTRY, HytheServer, server_factory
from tests.parts.process import free_port

PASSWORD = "correct horse battery"
SECONDS = 60


@dataclass(frozen=True, slots=True)
class Site:
    """A hub whose only user, an administrator, is called ann."""

    server: HytheServer

    @property
    def client(self) -> Client:
        """A client with ann's rights."""
        return client_of(self.server.port)

    def _call(self, method: str, path: str, body: object) -> Answer:
        content = json.dumps(body).encode() if body is not None else None
        return self.client(method, f"/api/v1/admin/replications{path}", content, Content_Type="application/json")

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Call the JSON API as ann; return the body of the response."""
        answer = self._call(method, path, body)
        assert answer.status < 300, answer
        return answer.json() if answer.body else None

    def refused(self, method: str, path: str, body: object = None) -> int:
        """Call the JSON API as ann; return the status, which is no success."""
        answer = self._call(method, path, body)
        assert answer.status >= 400, answer
        return answer.status

    def add(self, direction: str, url: str, **fields: Any) -> str:
        """Add a rule; return its name."""
        name = f"rule-{uuid.uuid4().hex[:8]}"
        account = {} if "username" in fields else {"username": "ann", "password": PASSWORD}
        self.api("POST", "", {"name": name, "direction": direction, "url": url, **account, **fields})
        return name

    def status(self, rule: str) -> Any:
        """The status of a rule."""
        return self.api("GET", f"/{rule}")

    def wait_for_results(self, rule: str, outcome: str, count: int = 1) -> list[Any]:
        """Wait until a rule has this many results of a kind, and return them."""

        def found() -> list[Any]:
            results = [each for each in self.status(rule)["results"] if each["outcome"] == outcome]
            return results if len(results) >= count else []

        return wait_for(found, lambda: self.status(rule))


def client_of(port: int, user: str = "ann", password: str = PASSWORD) -> Client:
    """A client that sends its password with every request."""
    secret = base64.b64encode(f"{user}:{password}".encode()).decode()
    return Client(port, {"Authorization": f"Basic {secret}"})


def wait_for(condition: Callable[[], Any], explain: Callable[[], object]) -> Any:
    """Wait until the condition holds, and return its value."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(explain())


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., HytheServer]]:
    """Factory of hubs for all tests of this file."""
    with server_factory(tmp_path_factory.mktemp("replication"), HUB) as factory:
        yield factory


def new_site(start: Callable[..., HytheServer]) -> Site:
    """Start a hub."""
    server = start()
    server.create_user("ann", PASSWORD, admin=True)
    return Site(server)


@pytest.fixture(scope="module")
def first(start: Callable[..., HytheServer]) -> Site:
    """The first site."""
    return new_site(start)


@pytest.fixture(scope="module")
def second(start: Callable[..., HytheServer]) -> Site:
    """The second site."""
    return new_site(start)


@pytest.fixture(scope="module")
def registry() -> Iterator[DockerRegistry]:
    """A docker-registry that requires a password."""
    with docker_registry_server(users={"ann": PASSWORD}) as running:
        yield running


def port_of(registry: DockerRegistry) -> int:
    """Its port."""
    return int(registry.host.rpartition(":")[2])


def fresh() -> str:
    """A repository that no other test uses."""
    return f"ann/{uuid.uuid4().hex[:12]}"


def tag_of(client: Client, repository: str, tag: str) -> str | None:
    """The digest of a tag; None if it does not exist."""
    answer = client(
        "HEAD", f"/v2/{repository}/manifests/{tag}", Accept=f"{INDEX}, application/vnd.oci.image.manifest.v1+json"
    )
    return str(answer.headers["Docker-Content-Digest"]) if answer.status == 200 else None


def test_pushes_follow_events_with_indexes_and_signatures(first: Site, second: Site) -> None:
    """What was there before a rule is copied at first, and what is pushed later within seconds, with what signs it."""
    repository = fresh()
    client = first.client
    before = client.push_image(repository, "before")
    rule = first.add("push", second.server.url, repositories=[repository])
    second_client = second.client
    wait_for(lambda: tag_of(second_client, repository, "before") == before, lambda: first.status(rule))

    children = [client.push_image(repository, f"child-{number}") for number in range(2)]
    index = client.push_manifest(repository, "multi", index_manifest(*children), INDEX)
    subject = {"mediaType": INDEX, "digest": index, "size": 2}
    config = json.dumps({}).encode()
    client.push_blob(repository, config)
    signature = image_manifest(config, subject=subject, artifactType="application/vnd.example.signature")
    signed_by = client.push_manifest(repository, digest_of(json.dumps(signature).encode()), signature)

    wait_for(lambda: tag_of(second_client, repository, "multi") == index, lambda: first.status(rule))
    assert tag_of(second_client, repository, signed_by) == signed_by
    wait_for(lambda: first.status(rule)["rule"]["behind"]["items"] == 0, lambda: first.status(rule))
    listed = second_client("GET", f"/v2/{repository}/referrers/{index}").json()["manifests"]
    assert [each["digest"] for each in listed] == [signed_by]


def test_a_docker_registry_receives_images(first: Site, registry: DockerRegistry) -> None:
    """A rule names the destination, chooses tags, and mounts what another repository there has."""
    one, other = fresh(), fresh()
    client = first.client
    manifest = client.image(one)
    digest = client.push_manifest(one, "v1", manifest)
    client.push_image(one, "nightly")
    rule = first.add("push", registry.url, repositories=[one, other], tags=["v*"], destination="copies/{name}")
    target = client_of(port_of(registry))
    place = f"copies/{one.partition('/')[2]}"
    wait_for(lambda: tag_of(target, place, "v1") == digest, lambda: first.status(rule))
    assert tag_of(target, place, "nightly") is None

    for blob in (manifest["config"], *manifest["layers"]):
        client("POST", f"/v2/{other}/blobs/uploads/?mount={blob['digest']}&from={one}")
    client.push_manifest(other, "v1", manifest)
    wait_for(lambda: tag_of(target, f"copies/{other.partition('/')[2]}", "v1"), lambda: first.status(rule))
    result = first.status(rule)["results"][0]
    assert (result["outcome"], result["repository"]) == ("copied", other)


def test_deletions_follow_if_the_rule_says_so(first: Site, second: Site) -> None:
    """A rule deletes what it brought, and a comparison leaves alone what the destination has of its own."""
    repository = fresh()
    client, target = first.client, second.client
    client.push_image(repository, "gone")
    kept = client.push_image(repository, "kept")
    rule = first.add("push", second.server.url, repositories=[repository], deletions=True, interval=10)
    wait_for(lambda: tag_of(target, repository, "kept") == kept, lambda: first.status(rule))
    wait_for(lambda: tag_of(target, repository, "gone"), lambda: first.status(rule))
    own = target.push_image(repository, "own")

    assert client("DELETE", f"/v2/{repository}/manifests/gone").status == 202
    first.wait_for_results(rule, "deleted")
    compared = len(first.wait_for_results(rule, "compared"))
    first.api("POST", f"/{rule}/run")
    first.wait_for_results(rule, "compared", compared + 1)

    assert tag_of(target, repository, "gone") is None
    assert tag_of(target, repository, "kept") == kept
    assert tag_of(target, repository, "own") == own


def test_a_pull_follows_the_schedule(first: Site, second: Site) -> None:
    """A rule that pulls finds new, moved and deleted tags when it compares, and deletes only what it brought."""
    repository = fresh()
    client = first.client
    old = client.push_image(repository, "moving")
    client.push_image(repository, "gone")
    rule = second.add("pull", first.server.url, repositories=[repository], deletions=True, interval=10)
    target = second.client
    wait_for(lambda: tag_of(target, repository, "moving") == old, lambda: second.status(rule))
    wait_for(lambda: tag_of(target, repository, "gone"), lambda: second.status(rule))
    own = target.push_image(repository, "own")

    new = client.push_image(repository, "moving")
    assert client("DELETE", f"/v2/{repository}/manifests/gone").status == 202
    second.api("POST", f"/{rule}/run")

    wait_for(lambda: tag_of(target, repository, "moving") == new, lambda: second.status(rule))
    wait_for(lambda: tag_of(target, repository, "gone") is None, lambda: second.status(rule))
    assert tag_of(target, repository, "own") == own


def test_two_hubs_that_replicate_to_each_other_come_to_rest(first: Site, second: Site) -> None:
    """A tag that one pushed to the other is not pushed back, nor is a tag deleted that only one has."""
    repository = fresh()
    rules = (
        (first, first.add("push", second.server.url, repositories=[repository], deletions=True)),
        (second, second.add("push", first.server.url, repositories=[repository], deletions=True)),
    )
    there, back = first.client.push_image(repository, "there"), second.client.push_image(repository, "back")

    for site in (first, second):
        client = site.client
        wait_for(partial(_has, client, repository, there=there, back=back), lambda: first.status(rules[0][1]))
    for site, rule in rules:
        wait_for(partial(_nothing_behind, site, rule), partial(site.status, rule))
        assert [each["outcome"] for each in site.status(rule)["results"] if each["repository"]] == ["copied"]


def _has(client: Client, repository: str, **tags: str) -> bool:
    return all(tag_of(client, repository, tag) == digest for tag, digest in tags.items())


def _nothing_behind(site: Site, rule: str) -> bool:
    return bool(site.status(rule)["rule"]["behind"]["items"] == 0)


def test_wrong_credentials_are_named(first: Site, registry: DockerRegistry) -> None:
    """The status says that the credentials are wrong, and what is behind waits."""
    repository = fresh()
    first.client.push_image(repository)
    rule = first.add("push", registry.url, repositories=[repository], username="ann", password="wrong")
    first.api("POST", f"/{rule}/run")

    first.wait_for_results(rule, "failed")

    shown = first.status(rule)["rule"]
    assert "rejected the credentials" in shown["problem"]
    assert "check the user name and password" in shown["problem"]
    assert shown["paused_until"] is not None


def test_an_unreachable_registry_is_shown_and_tried_again(first: Site, tmp_path: Path) -> None:
    """What cannot be sent stays behind, and is sent when the other registry, a private one, is there."""
    repository = fresh()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    rule = first.add("push", url, repositories=[repository], interval=0, username="", password="")
    digest = first.client.push_image(repository)
    wait_for(lambda: first.status(rule)["rule"]["behind"]["failed"], lambda: first.status(rule))
    shown = first.status(rule)
    assert f"127.0.0.1:{port} does not respond" in shown["rule"]["problem"]
    assert shown["items"][0]["attempts"] == 1

    target = HytheServer(REGISTRY, tmp_path / "data", tmp_path, port=port)
    target.start()
    try:
        wait_for(lambda: tag_of(Client(port), repository, "latest") == digest, lambda: first.status(rule))
        wait_for(lambda: _nothing_behind(first, rule), lambda: first.status(rule))
        assert first.status(rule)["rule"]["problem"] == ""
    finally:
        target.discard()


def test_a_rule_changes_in_place(first: Site, second: Site) -> None:
    """What a disabled rule misses is copied later, by the changed patterns; its password is not seen in the log."""
    repository = fresh()
    rule = first.add("push", second.server.url, repositories=["ann/nothing"], password="wrong")
    change = {"repositories": [repository], "tags": ["v*"], "username": "ann", "password": PASSWORD, "enabled": False}
    shown = first.api("PATCH", f"/{rule}", change)
    assert (shown["enabled"], shown["tags"], shown["paused_until"]) == (False, ["v*"], None)
    assert first.refused("POST", f"/{rule}/run") == 403
    digest = first.client.push_image(repository, "v1")
    first.client.push_image(repository, "nightly")
    assert tag_of(second.client, repository, "v1") is None

    first.api("PATCH", f"/{rule}", {"enabled": True})

    wait_for(lambda: tag_of(second.client, repository, "v1") == digest, lambda: first.status(rule))
    wait_for(lambda: _nothing_behind(first, rule), lambda: first.status(rule))
    assert tag_of(second.client, repository, "nightly") is None
    log = first.server.admin("audit", "--action", "replication.change", "--json")
    assert rule in log
    assert PASSWORD not in log + json.dumps(first.status(rule)) + first.server.log


@pytest.mark.parametrize(
    "change",
    [{"username": "ben"}, {"password": "x"}, {"repositories": []}, {"destination": "x"}, {"interval": 5}, {"url": "x"}],
    ids=str,
)
def test_a_bad_change_is_refused(first: Site, second: Site, change: dict[str, object]) -> None:
    """Credentials go together, and a rule cannot lead its stored password elsewhere."""
    rule = first.add("push", second.server.url, repositories=["ann/nothing"])
    assert first.refused("PATCH", f"/{rule}", change) in (400, 422)
    first.api("DELETE", f"/{rule}")


@pytest.mark.parametrize("direction", ["push", "pull"])
def test_a_crash_sends_at_most_a_part_again(
    start: Callable[..., HytheServer], second: Site, direction: str, rounds: Callable[[int, int], int]
) -> None:
    """A server that is killed in the middle of a large blob goes on where it was."""
    if direction == "pull" and rounds(0, 1) == 0:
        pytest.skip("pulls with --all-rounds: each waits for the end of a lease")
    site, repository = new_site(start), fresh()
    layer, config = os.urandom(40 * 1024 * 1024), uuid.uuid4().hex.encode()
    source, target = (site, second) if direction == "push" else (second, site)
    client = source.client
    for content in (layer, config):
        client.push_blob(repository, content)
    digest = client.push_manifest(repository, "large", image_manifest(config, layer))
    rule = site.add(direction, second.server.url, repositories=[repository], rate=20 * 1024 * 1024, concurrency=1)
    site.api("POST", f"/{rule}/run")
    seen = uploads_of(target)
    wait_for(lambda: max(uploads_of(target), default=0) >= 16 * 1024 * 1024, lambda: (seen, site.status(rule)))
    site.server.kill()
    site.server.start()

    wait_for(lambda: tag_of(target.client, repository, "large") == digest, lambda: site.status(rule))
    (result,) = site.wait_for_results(rule, "copied")
    assert 0 < result["bytes"] <= len(layer) + len(config)
    assert target.client("GET", f"/v2/{repository}/blobs/{digest_of(layer)}").body == layer


def uploads_of(site: Site) -> list[int]:
    """The sizes of the unfinished uploads of a hub."""
    with sqlite3.connect(f"file:{site.server.data}/hythe.db?mode=ro", uri=True) as connection:
        return [size for (size,) in connection.execute("SELECT offset FROM uploads")]


def test_the_command_adds_runs_and_shows_rules(start: Callable[..., HytheServer], second: Site) -> None:
    """`hythe admin replicate` works next to the server, and without it; `status` fails for what cannot be copied."""
    site, repository = new_site(start), fresh()
    digest = site.client.push_image(repository)
    site.server.stop()
    named = ("cli", "push", second.server.url, "--username", "ann", "--password-stdin", "--repository", repository)
    site.server.admin("replicate", "add", *named, "--no-events", stdin=PASSWORD)
    done = site.server.try_admin("replicate", "run", "cli")
    assert (done.returncode, done.stdout) == (0, "cli: nothing is behind\n"), done.stderr
    assert tag_of(second.client, repository, "latest") == digest
    assert "copied  " in site.server.admin("replicate", "show", "cli")
    listed = json.loads(site.server.admin("replicate", "list", "--json"))
    assert [(each["name"], each["behind"]["items"]) for each in listed] == [("cli", 0)]
    assert site.server.admin("replicate", "status") == "cli: nothing is behind\n"

    site.server.admin("replicate", "add", "off", "push", f"http://127.0.0.1:{free_port()}")
    failed = site.server.try_admin("replicate", "run", "off")
    assert failed.returncode == 1
    assert "does not respond" in failed.stderr
    site.server.admin("replicate", "remove", "off")
    assert site.server.try_admin("replicate", "show", "off").returncode == 1


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_second_site_follows_and_can_be_promoted(
    start: Callable[..., HytheServer], second: Site, engine: str, request: pytest.FixtureRequest
) -> None:
    """Accounts, tokens, private repositories and images arrive; users can only read; then it becomes the first site.

    Two servers of the promoted site share a rule that pushes, and copy each tag once; a rule pulls.
    """
    database_url = request.getfixturevalue("postgresql_url") if engine == "postgresql" else None
    key = base64.b64encode(os.urandom(32)).decode()
    site = Site(start(["--second-sites"], env={"HYTHE_SECRET_KEY": key}))
    site.server.create_user("ann", PASSWORD, admin=True)
    repository = fresh()
    digest = site.client.push_image(repository)
    body = json.dumps({"visibility": "private"}).encode()
    answer = site.client("PATCH", f"/api/v1/repositories/{repository}", body, Content_Type="application/json")
    assert answer.status == 200, answer

    copy = start(["--follow", site.server.url], env={"HYTHE_SECRET_KEY": key}, database_url=database_url)
    reader = client_of(copy.port)
    wait_for(lambda: tag_of(reader, repository, "latest") == digest, lambda: copy.log)
    assert Client(copy.port)("GET", f"/v2/{repository}/manifests/latest").status == 401
    assert reader("POST", f"/v2/{repository}/blobs/uploads/").status == 503
    moved = site.client.push_image(repository)
    wait_for(lambda: tag_of(reader, repository, "latest") == moved, lambda: copy.log)
    site.server.create_user("ben", PASSWORD)
    wait_for(lambda: reader("GET", "/api/v1/users/ben").status == 200, lambda: copy.log)
    assert client_of(copy.port, "ben")("GET", "/v2/").status == 200

    site.server.kill()
    copy.stop()
    copy.arguments = ()
    copy.start()
    promoted = client_of(copy.port)
    assert promoted.push_image(fresh())
    assert promoted.push_image(repository, "after")
    copy.create_user("eve", PASSWORD)
    assert client_of(copy.port, "eve")("GET", "/v2/").status == 200
    copy.admin("replicate", "remove", "primary")
    if database_url is not None:
        twin = start(data=copy.data, env={"HYTHE_SECRET_KEY": key}, database_url=database_url)
        share_a_rule(Site(copy), Site(twin), second)


def share_a_rule(site: Site, twin: Site, target: Site) -> None:
    """Push from two servers of one hub by one rule, and pull by another."""
    repository, pulled = fresh(), fresh()
    rule = site.add("push", target.server.url, repositories=[repository], concurrency=4)
    clients = site.client, twin.client
    pushed = {f"v{number}": clients[number % 2].push_image(repository, f"v{number}") for number in range(8)}
    wait_for(partial(_has, target.client, repository, **pushed), lambda: site.status(rule))
    wait_for(partial(_nothing_behind, site, rule), lambda: site.status(rule))
    copied = [each["reference"] for each in site.status(rule)["results"] if each["outcome"] == "copied"]
    assert sorted(copied) == sorted(pushed)
    digest = target.client.push_image(pulled)
    rule = twin.add("pull", target.server.url, repositories=[pulled], interval=10)
    wait_for(lambda: tag_of(site.client, pulled, "latest") == digest, lambda: site.status(rule))


def test_only_the_key_of_the_installation_opens_a_hub_to_a_second_site(
    first: Site, start: Callable[..., HytheServer]
) -> None:
    """Without the setting, or with another key, there is nothing to follow, not even for an administrator."""
    assert first.client("GET", "/second-site/rows").status == 404
    open_hub = start(["--second-sites"])
    for secret in ("x", ""):
        assert client_of(open_hub.port, "second site", secret)("GET", "/second-site/rows").status == 401
        assert client_of(open_hub.port, "second site", secret)("GET", "/v2/_catalog").status == 401
