"""Credential files: every format that docker and podman ever wrote, and the ones that hythe writes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hythe.client.credential_files import CredentialFiles
from hythe.client.credential_helpers import HelperFailed
from hythe.client.credentials import ANONYMOUS, Credential
from hythe.client.errors import InvalidConfiguration

ANN = Credential("ann", "secret")

PAGE_EXAMPLE = """\
{
	"https://index.docker.io/v1/": {
		"auth": "xXxXxXxXxXw=",
		"email": "email@example.com"
	},
	"https://my-registry.com": {
		"auth": "XxXxXxXxXxU=",
		"email": "email@my-registry.com"
	}
}"""
"""The example of Docker's page of 2014 ("Authentication file"), with pairs in ``auth`` that can be pairs.

Its indentation of 5 and 13 columns is what a browser makes of tabs below a margin of 3, so tabs stood in the file.
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def files(home: Path, **environment: str) -> CredentialFiles:
    return CredentialFiles({"HOME": str(home), **environment})


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def auth(name: str, password: str = "secret") -> dict[str, str]:
    return {"auth": Credential(name, password).encoded}


def test_the_pages_dockercfg_is_written_byte_for_byte(home: Path) -> None:
    """Two logins with --legacy-dockercfg write the same file as docker in 2014."""
    kept = files(home)
    examples = json.loads(
        PAGE_EXAMPLE.replace("xXxXxXxXxXw=", auth("ann")["auth"]).replace("XxXxXxXxXxU=", auth("bob")["auth"])
    )
    bob = Credential("bob", "secret", email="email@my-registry.com")
    kept.save("my-registry.com", bob, "https://my-registry.com", legacy=True)
    kept.save("docker.io", Credential("ann", "secret", email="email@example.com"), legacy=True)
    expected = PAGE_EXAMPLE.replace("xXxXxXxXxXw=", auth("ann")["auth"]).replace("XxXxXxXxXxU=", auth("bob")["auth"])

    assert (home / ".dockercfg").read_text() == expected
    assert json.loads(expected) == examples
    assert stat.S_IMODE((home / ".dockercfg").stat().st_mode) == 0o600


def test_the_pages_dockercfg_is_read(home: Path) -> None:
    """Both servers in a file are found by the host of an image name."""
    text = PAGE_EXAMPLE.replace("xXxXxXxXxXw=", auth("ann")["auth"]).replace("XxXxXxXxXxU=", auth("bob")["auth"])
    write(home / ".dockercfg", text)
    kept = files(home)

    assert kept.find("docker.io") == Credential("ann", "secret", email="email@example.com")
    assert kept.find("my-registry.com", "app").username == "bob"
    assert kept.find("elsewhere.com") == ANONYMOUS


def test_the_oldest_dockercfg_of_two_lines_is_read_and_becomes_json(home: Path) -> None:
    """The format before JSON is for Docker Hub; adding another host keeps its entry."""
    write(home / ".dockercfg", f"auth = {ANN.encoded}\nemail = ann@example.com\n")
    kept = files(home)

    assert kept.find("docker.io") == Credential("ann", "secret", email="ann@example.com")
    kept.save("quay.io", Credential("bob", "pw"), legacy=True)
    assert kept.find("docker.io").username == "ann"
    assert kept.find("quay.io").username == "bob"


def test_the_most_specific_key_wins_across_files(home: Path) -> None:
    """podman's namespaces override a host's key, even one in an earlier file."""
    write(
        home / ".docker/config.json", {"auths": {"quay.io": auth("host"), "https://index.docker.io/v1/": auth("hub")}}
    )
    write(home / ".config/containers/auth.json", {"auths": {"quay.io/ann": auth("ann"), "quay.io": auth("later")}})
    kept = files(home)

    assert kept.find("quay.io", "ann/app").username == "ann"
    assert kept.find("quay.io", "bob/app").username == "host"
    assert kept.find("docker.io", "library/x").username == "hub"


def test_the_environment_names_other_files(home: Path) -> None:
    """DOCKER_AUTH_CONFIG overrides REGISTRY_AUTH_FILE, which overrides DOCKER_CONFIG."""
    write(home / "d/config.json", {"auths": {"a.io": auth("docker"), "b.io": auth("docker"), "c.io": auth("docker")}})
    chosen = write(home / "podman.json", {"auths": {"a.io": auth("podman"), "b.io": auth("podman")}})
    inline = json.dumps({"auths": {"a.io": auth("inline")}})
    kept = files(home, DOCKER_CONFIG=str(home / "d"), REGISTRY_AUTH_FILE=str(chosen), DOCKER_AUTH_CONFIG=inline)

    assert [kept.find(host).username for host in ("a.io", "b.io", "c.io")] == ["inline", "podman", "docker"]
    assert kept.written_path == chosen


def test_podmans_runtime_file_is_read(home: Path) -> None:
    """podman login writes below XDG_RUNTIME_DIR."""
    write(home / "run/containers/auth.json", {"auths": {"a.io": auth("ann")}})

    assert files(home, XDG_RUNTIME_DIR=str(home / "run")).find("a.io").username == "ann"


def test_identity_and_registry_tokens_are_read(home: Path) -> None:
    """docker stores them after login to a hub with refresh tokens."""
    entries = {"a.io": {**auth("ann", ""), "identitytoken": "idt"}, "b.io": {"registrytoken": "rt"}}
    write(home / ".docker/config.json", {"auths": entries})
    kept = files(home)

    assert kept.find("a.io") == Credential(username="ann", identity_token="idt")
    assert kept.find("b.io") == Credential(registry_token="rt")


def test_writing_keeps_other_keys_and_the_mode(home: Path) -> None:
    """config.json belongs to docker: its other keys are kept, in order."""
    before = {
        "HttpHeaders": {"X": "1"},
        "auths": {"a.io": auth("old")},
        "psFormat": "table {{.ID}}",
        "plugins": {"é": {}},
    }
    path = write(home / ".docker/config.json", before)
    path.chmod(0o644)
    files(home).save("b.io", Credential(username="ann", identity_token="idt"))
    after = json.loads(path.read_text())

    assert list(after) == list(before)
    assert {key: after[key] for key in after if key != "auths"} == {k: before[k] for k in before if k != "auths"}
    assert after["auths"] == {"a.io": auth("old"), "b.io": {**auth("ann", ""), "identitytoken": "idt"}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith('{\n\t"HttpHeaders"')


def test_a_symbolic_link_is_kept(home: Path) -> None:
    """For users who keep their dotfiles in another folder."""
    target = write(home / "dotfiles/config.json", {})
    (home / ".docker").mkdir()
    (home / ".docker/config.json").symlink_to(target)
    files(home).save("a.io", ANN)

    assert (home / ".docker/config.json").is_symlink()
    assert "a.io" in json.loads(target.read_text())["auths"]


def test_logout_removes_every_spelling_of_a_host(home: Path) -> None:
    """A host's entries are removed from all files that hythe writes; others are kept."""
    path = write(home / ".docker/config.json", {"auths": {"https://a.io/v1/": auth("ann"), "b.io": auth("bob")}})
    legacy = write(home / ".dockercfg", {"https://a.io": {**auth("ann"), "email": ""}})
    kept = files(home)

    assert kept.remove("a.io")
    assert not kept.remove("a.io")
    assert list(json.loads(path.read_text())["auths"]) == ["b.io"]
    assert json.loads(legacy.read_text()) == {}


@pytest.mark.parametrize("content", ["{", "[]", "nonsense without an equals sign"])
def test_an_invalid_file_is_an_error(home: Path, content: str) -> None:
    """The error names the file; it is not treated as missing."""
    write(home / ".docker/config.json", content)

    with pytest.raises(InvalidConfiguration, match=r"config\.json"):
        files(home).find("a.io")


HELPER = """#!/bin/sh
cd "$(dirname "$0")"
read -r line || true
echo "$1 $line" >> calls
case "$1" in
get) if [ -f "kept-$line" ]; then cat "kept-$line"; else echo "credentials not found in native keychain"; exit 1; fi ;;
store) echo "$line" > stored ;;
erase) ;;
esac
"""


@pytest.fixture
def helper(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in PATH with docker-credential-box, which returns credentials from files ``kept-HOST``."""
    folder = home / "bin"
    folder.mkdir()
    (folder / "docker-credential-box").write_text(HELPER)
    (folder / "docker-credential-box").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_a_helper_for_a_host(home: Path, helper: Path) -> None:
    """credHelpers selects the program; <token> marks an identity token; a miss means anonymous."""
    write(home / ".docker/config.json", {"credHelpers": {"a.io": "box", "b.io": "box", "c.io": "box"}})
    (helper / "kept-a.io").write_text('{"ServerURL":"a.io","Username":"ann","Secret":"pw"}')
    (helper / "kept-b.io").write_text('{"ServerURL":"b.io","Username":"<token>","Secret":"idt"}')
    kept = files(home)

    assert kept.find("a.io") == Credential("ann", "pw")
    assert kept.find("b.io") == Credential(identity_token="idt")
    assert kept.find("c.io") == ANONYMOUS
    assert kept.find("d.io") == ANONYMOUS
    assert "get d.io" not in (helper / "calls").read_text()


def test_login_with_a_credential_store(home: Path, helper: Path) -> None:
    """With credsStore, the file only contains the host, without a secret, like docker's."""
    path = write(home / ".docker/config.json", {"credsStore": "box"})
    files(home).save("a.io", ANN)

    assert json.loads((helper / "stored").read_text()) == {"ServerURL": "a.io", "Username": "ann", "Secret": "secret"}
    assert json.loads(path.read_text()) == {"credsStore": "box", "auths": {"a.io": {}}}
    assert files(home).remove("a.io")
    assert "erase a.io" in (helper / "calls").read_text()


def test_logout_asks_the_helper_even_without_a_key(home: Path, helper: Path) -> None:
    """Some tools store a secret in the helper without writing the file."""
    write(home / ".docker/config.json", {"credHelpers": {"a.io": "box", "b.io": "box"}})
    (helper / "kept-a.io").write_text('{"ServerURL":"a.io","Username":"ann","Secret":"pw"}')

    assert files(home).remove("a.io")
    assert not files(home).remove("b.io")
    assert "erase a.io" in (helper / "calls").read_text()


def test_a_missing_helper_is_an_error(home: Path) -> None:
    """Anonymous access because of a missing program would be confusing."""
    write(home / ".docker/config.json", {"credHelpers": {"a.io": "not-installed"}})

    with pytest.raises(HelperFailed, match="docker-credential-not-installed is not installed"):
        files(home).find("a.io")


def test_a_symbolic_link_stays(home: Path) -> None:
    """Its target is replaced, also if it does not exist yet."""
    target = home / "elsewhere" / "target.json"
    config = home / ".docker" / "config.json"
    config.parent.mkdir()
    config.symlink_to(target)
    for user in ("ann", "bob"):
        files(home).save("h", Credential(user, "secret"))

    assert config.readlink() == target
    assert files(home).find("h").username == "bob"


def test_the_owner_and_a_narrower_mode_stay(home: Path) -> None:
    """With sudo, a user's file stays the user's; secrets never become readable by others."""
    path = write(home / ".docker" / "config.json", {"auths": {}})
    for before, after in ((0o644, 0o600), (0o600, 0o600), (0o400, 0o600)):
        path.chmod(before)
        if os.geteuid() == 0:
            os.chown(path, 1234, 1234)
        files(home).save("h", ANN)

        assert stat.S_IMODE(path.stat().st_mode) == after
        assert os.geteuid() != 0 or path.stat().st_uid == 1234


@pytest.fixture
def mount() -> Iterator[Callable[..., None]]:
    """Run `mount`; everything is unmounted at the end."""
    targets: list[str] = []

    def run(*arguments: str | Path) -> None:
        subprocess.run(["mount", *arguments], check=True)
        targets.append(str(arguments[-1]))

    yield run
    for target in reversed(targets):
        subprocess.run(["umount", "--lazy", target], check=False, capture_output=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file")
@pytest.mark.parametrize("is_read_only", [False, True])
def test_a_bind_mounted_file_is_written_in_place(home: Path, mount: Callable[..., None], is_read_only: bool) -> None:
    """As in a container with ``-v config.json:/root/.docker/config.json``, its folder writable or read-only."""
    outside = write(home / "outside.json", {"credsStore": "", "HttpHeaders": {"x": "y" * 1000}})
    outside.chmod(0o640)
    folder = home / ".docker"
    folder.mkdir()
    mount("-t", "tmpfs", "tmpfs", folder)
    write(folder / "config.json", "")
    mount("--bind", outside, folder / "config.json")
    if is_read_only:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    files(home).save("h", ANN)
    files(home).save("other", Credential("bob", "x"))
    files(home).remove("other")

    fields = json.loads(outside.read_text())
    assert fields["auths"] == {"h": auth("ann")}
    assert fields["HttpHeaders"] == {"x": "y" * 1000}
    assert stat.S_IMODE(outside.stat().st_mode) == 0o640
    assert [entry.name for entry in folder.iterdir()] == ["config.json"]


def test_a_folder_in_place_of_the_file_is_named(home: Path) -> None:
    """Docker creates one for a bind mount whose source is missing."""
    path = home / ".docker" / "config.json"
    path.mkdir(parents=True)
    with pytest.raises(InvalidConfiguration, match=f"{path}: Is a directory") as caught:
        files(home).save("h", ANN)

    assert "must be a file" in caught.value.hint


@pytest.mark.parametrize(
    "pair",
    ["YW5uOnNlY3JldDE=", "YW5uOnNlY3JldDE", " YW5uOnNl\n\tY3JldDE=\r\n", "YW5uOnNlY3JldDEAAA==", "YW5uOnNlY3JldDE=="],
)
def test_pairs_as_people_write_them(home: Path, pair: str) -> None:
    """Without padding, with white space, with docker's trailing NUL: in config.json and in both .dockercfg."""
    expected = Credential("ann", "secret1")
    write(home / ".docker" / "config.json", {"auths": {"one": {"auth": pair}}})
    write(home / ".dockercfg", {"two": {"auth": pair}})

    assert [files(home).find(host) for host in ("one", "two")] == [expected, expected]
    (home / ".dockercfg").write_text(f"auth = {' '.join(pair.split())}\nemail = x\n")
    assert files(home).find("docker.io") == Credential("ann", "secret1", email="x")
