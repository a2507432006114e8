"""The git server serves clones and pushes over HTTP."""

from pathlib import Path

import pytest
from tests.parts.git_server import GitServer, run_git


def test_a_shallow_clone_of_one_commit(git_server: GitServer, tmp_path: Path) -> None:
    """A commit can be fetched by its id, also from a branch that was created later."""
    repository = git_server.create("ann/app")
    repository.commit({"Dockerfile": "FROM scratch\n"}, "First")
    second = repository.commit({"src/main.py": "print()\n"}, "Second", branch="dev")
    repository.tag("v1")
    (tmp_path / "clone").mkdir()
    run_git(tmp_path / "clone", "init", "-q")

    run_git(tmp_path / "clone", "fetch", "-q", "--depth=1", repository.url, second)

    assert run_git(tmp_path / "clone", "rev-list", "FETCH_HEAD") == second
    assert "refs/tags/v1" in run_git(tmp_path, "ls-remote", repository.url)


def test_a_private_repository_asks_for_a_password(git_server: GitServer, tmp_path: Path) -> None:
    """Without the password, refs cannot be listed."""
    repository = git_server.create("ann/secret", private=("x-token", "s3cret"))
    repository.commit({"README.md": "secret\n"})

    listed = run_git(tmp_path, "ls-remote", repository.url.replace("://", "://x-token:s3cret@"))

    assert "refs/heads/main" in listed
    with pytest.raises(AssertionError, match="could not read Username"):
        run_git(tmp_path, "ls-remote", repository.url)
