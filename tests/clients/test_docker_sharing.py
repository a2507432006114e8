"""Sharing images through the hub with the real docker, as users do."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.parts.engines import Docker, Dockerd
from tests.parts.hub import HUB, HytheServer, server_factory

pytestmark = pytest.mark.clients

PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HytheServer]:
    """A hub with Ann, Ben and an administrator for these tests, which use different repository names."""
    with server_factory(tmp_path_factory.mktemp("sharing"), HUB) as start:
        started = start()
        started.create_user("root-user", PASSWORD, admin=True)
        for name in ("ann", "ben", "centuser"):
            sign_up = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
            assert httpx2.post(f"{started.url}/api/v1/users", json=sign_up).status_code == 201
        yield started


@pytest.fixture(scope="module")
def logged_in(hub: HytheServer, dockerd: Dockerd, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Docker]:
    """Docker commands of several users on one daemon, each logged in to the hub."""
    people = {name: dockerd.client(tmp_path_factory.mktemp(name)) for name in ("ann", "ben", "root-user")}
    for name, docker in people.items():
        done = docker.login(hub.host, name, PASSWORD)
        assert done.returncode == 0, done.stderr
    return people


@pytest.fixture
def people(logged_in: dict[str, Docker], docker: Docker) -> dict[str, Docker]:
    """The same, with `nobody`, who is not logged in; the daemon has no images at first."""
    return {"nobody": docker, **logged_in}


def test_login_with_the_right_password(hub: HytheServer, docker: Docker) -> None:
    """`docker login` succeeds and stores a token instead of the password."""
    done = docker.login(hub.host, "ann", PASSWORD)

    assert done.returncode == 0, done.stderr
    assert "Login Succeeded" in done.stdout
    kept = (docker.config / "config.json").read_text()
    assert "identitytoken" in kept


def test_login_with_a_wrong_password(hub: HytheServer, docker: Docker) -> None:
    """It is refused with docker's message."""
    done = docker.login(hub.host, "ann", "wrong horse")

    assert done.returncode == 1
    assert "unauthorized: incorrect username or password" in done.stderr


def test_login_with_a_personal_token(hub: HytheServer, docker: Docker, busybox_tar: Path) -> None:
    """A read-only personal token can log in and pull, but not push; revoking it ends the login."""
    name = f"{hub.host}/ann/sealed"
    docker.import_image(busybox_tar, name)
    with httpx2.Client(base_url=hub.url, timeout=60, auth=("ann", PASSWORD)) as api:
        new = {"namespace": "ann", "name": "sealed", "visibility": "private"}
        assert api.post("/api/v1/repositories", json=new).status_code == 201
        docker.login(hub.host, "ann", PASSWORD)
        docker.ok("push", name)
        made = api.post("/api/v1/tokens", json={"name": "ci", "rights": ["repo:read"]}).json()
        assert docker.login(hub.host, "ann", made["token"]).returncode == 0
        docker.ok("pull", name)

        refused = docker.run("push", name)
        api.delete(f"/api/v1/tokens/{made['id']}")
        ended = docker.run("pull", name)

    assert refused.returncode == 1
    assert "denied" in refused.stderr
    assert ended.returncode == 1


def test_run_commit_push_pull_run(people: dict[str, Docker], hub: HytheServer, busybox_tar: Path) -> None:
    """The workflow of Docker's tutorial of 2014: the pulled image has the same ID and output."""
    docker = people["ann"]
    name = f"{hub.host}/ann/kickassapp"
    docker.import_image(busybox_tar, "box")
    container = docker.ok("run", "--detach", "--network=none", "box", "sh", "-c", "echo kick > /srv-app")
    docker.ok("wait", container)
    docker.ok("commit", "--change", 'CMD ["cat", "/srv-app"]', container, name)
    image = docker.image_id(name)

    pushed = docker.ok("push", name)
    docker.ok("rmi", name)
    people["nobody"].ok("pull", name)

    assert "latest: digest: sha256:" in pushed
    assert docker.image_id(name) == image
    assert docker.ok("run", "--rm", "--network=none", name) == "kick"


def test_second_push_uploads_nothing(people: dict[str, Docker], hub: HytheServer, busybox_tar: Path) -> None:
    """Layers in the repository are not sent again; layers of another repository are mounted."""
    docker = people["ann"]
    first, second = f"{hub.host}/ann/first", f"{hub.host}/ann/second"
    docker.import_image(busybox_tar, first)
    docker.ok("tag", first, second)
    docker.ok("push", first)

    again, other = docker.ok("push", first), docker.ok("push", second)

    assert "Layer already exists" in again
    assert "Mounted from ann/first" in other


def test_stranger_may_not_push(people: dict[str, Docker], hub: HytheServer, busybox_tar: Path) -> None:
    """A push to another user's namespace is refused with a reason."""
    docker = people["ben"]
    name = f"{hub.host}/ann/app"
    docker.import_image(busybox_tar, name)

    done = docker.run("push", name)

    assert done.returncode == 1
    assert "denied: only ann and collaborators may push to ann/.." in done.stderr


def test_push_without_login(people: dict[str, Docker], hub: HytheServer, busybox_tar: Path) -> None:
    """Anonymous pushes are refused."""
    docker = people["nobody"]
    name = f"{hub.host}/ann/app"
    docker.import_image(busybox_tar, name)

    done = docker.run("push", name)

    assert done.returncode == 1
    assert "denied" in done.stderr
    assert "docker login" in done.stderr


def test_top_level_is_curated(people: dict[str, Docker], hub: HytheServer, busybox_tar: Path) -> None:
    """Only administrators push `centos`, which is `library/centos`; anyone can pull it by either name."""
    name = f"{hub.host}/centos"
    people["ben"].import_image(busybox_tar, name)

    refused = people["ben"].run("push", name)
    people["root-user"].ok("push", name)
    people["nobody"].ok("rmi", name)
    people["nobody"].ok("pull", name)
    people["nobody"].ok("pull", f"{hub.host}/library/centos")

    assert refused.returncode == 1
    assert "denied: 'centos' is a top-level repository" in refused.stderr


def test_private_repository_is_like_none(people: dict[str, Docker], hub: HytheServer, busybox_tar: Path) -> None:
    """Its owner pushes and pulls it; for everyone else docker reports that it does not exist."""
    name, absent = f"{hub.host}/ann/secret", f"{hub.host}/ann/absent"
    with httpx2.Client(base_url=hub.url, timeout=60, auth=("ann", PASSWORD)) as api:
        new = {"namespace": "ann", "name": "secret", "visibility": "private"}
        assert api.post("/api/v1/repositories", json=new).status_code == 201
    people["ann"].import_image(busybox_tar, name)
    people["ann"].ok("push", name)
    people["ann"].ok("rmi", name)
    people["ann"].ok("pull", name)

    for who in ("ben", "nobody", "root-user"):
        hidden, missing = people[who].run("pull", name), people[who].run("pull", absent)
        assert hidden.returncode == missing.returncode == 1
        assert hidden.stderr.replace("secret", "absent") == missing.stderr
        assert "repository does not exist or may require 'docker login'" in hidden.stderr


def test_search(people: dict[str, Docker], hub: HytheServer, busybox_tar: Path) -> None:
    """`docker search HOST/cent` matches name, user name and description, directly after the push."""
    docker = people["root-user"]
    docker.import_image(busybox_tar, f"{hub.host}/centos")
    docker.ok("push", f"{hub.host}/centos")
    for user, name, visibility, description in (
        ("centuser", "tool", "public", "A tool"),
        ("ann", "base", "public", "Built on centos"),
        ("ann", "cent-secret", "private", "Mine"),
    ):
        with httpx2.Client(base_url=hub.url, timeout=60, auth=(user, PASSWORD)) as api:
            new = {"namespace": user, "name": name, "visibility": visibility, "description": description}
            assert api.post("/api/v1/repositories", json=new).status_code == 201

    row = "{{.Name}} {{.IsOfficial}}"
    seen = {who: people[who].ok("search", "--format", row, f"{hub.host}/cent") for who in ("nobody", "ben", "ann")}

    public = ["centos [OK]", "centuser/tool", "ann/base"]
    for who in ("nobody", "ben"):
        assert [line.strip() for line in seen[who].splitlines()] == public
    assert {line.strip() for line in seen["ann"].splitlines()} == {*public, "ann/cent-secret"}
