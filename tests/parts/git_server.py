"""Real git over HTTP: `git http-backend` behind a small threaded server, and helpers to create repositories."""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.parts.process import program

IDENTITY = {
    "GIT_AUTHOR_NAME": "Ann Author",
    "GIT_AUTHOR_EMAIL": "ann@example.com",
    "GIT_COMMITTER_NAME": "Ann Author",
    "GIT_COMMITTER_EMAIL": "ann@example.com",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    # Half of the time that a repository takes would be for compressing a root file system.
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "core.compression",
    "GIT_CONFIG_VALUE_0": "0",
}


@dataclass(slots=True)
class GitRepository:
    """A bare repository on the server, and a work tree to push from."""

    name: str
    url: str
    bare: Path
    work: Path

    def git(self, *arguments: str) -> str:
        """Run git in the work tree and return its output; fail on an error."""
        return run_git(self.work, *arguments)

    def commit(self, files: Mapping[str, str], message: str = "Change", *, branch: str = "main") -> str:
        """Write `files` (path -> text) on `branch`, commit, push, and return the commit id.

        A new branch starts at the checked-out commit.
        """
        exists = self.git("branch", "--list", branch)
        self.git("checkout", "-q", *([] if exists else ["-B"]), branch)
        for path, text in files.items():
            target = self.work / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        self.git("push", "-q", "origin", branch)
        return self.head(branch)

    def tag(self, name: str, commit: str = "HEAD") -> str:
        """Tag a commit, push the tag, and return the commit id."""
        self.git("tag", "-a", name, "-m", name, commit)
        self.git("push", "-q", "origin", name)
        return self.head(name)

    def delete(self, ref: str) -> None:
        """Delete a branch or tag on the server."""
        self.git("push", "-q", "origin", f":{ref}")

    def head(self, ref: str = "HEAD") -> str:
        """Return the id of the commit that a branch, a tag or another name points to."""
        return self.git("rev-parse", f"{ref}^{{commit}}")


def run_git(folder: Path, *arguments: str) -> str:
    """Run git in `folder` with a test identity and without configuration files."""
    command = [program("git", "git"), *arguments]
    result = subprocess.run(
        command, cwd=folder, env={**os.environ, **IDENTITY}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"git {' '.join(arguments)}\n{result.stdout}{result.stderr}"
    return result.stdout.strip()


@dataclass(slots=True)
class GitServer:
    """Serves every bare repository below `folder`; those in `private` require a user name and password."""

    folder: Path
    url: str
    private: dict[str, tuple[str, str]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def create(self, name: str, *, private: tuple[str, str] | None = None) -> GitRepository:
        """Create an empty repository `OWNER/NAME`; `private` is the user name and password required to read it."""
        bare, work = self.folder / f"{name}.git", self.folder / ".work" / name
        for path in (bare, work):
            path.mkdir(parents=True)
        run_git(bare, "init", "-q", "--bare", "--initial-branch=main")
        run_git(bare, "config", "uploadpack.allowAnySHA1InWant", "true")
        run_git(work, "init", "-q", "--initial-branch=main")
        run_git(work, "remote", "add", "origin", str(bare))
        if private:
            self.private[name] = private
        return GitRepository(name, f"{self.url}/{name}.git", bare, work)

    def can_read(self, path: str, authorization: str | None) -> bool:
        """Return whether a request with this Authorization header can read `path`."""
        name = path.lstrip("/").split(".git", 1)[0]
        if name not in self.private:
            return True
        user, password = self.private[name]
        expected = base64.b64encode(f"{user}:{password}".encode()).decode()
        return authorization == f"Basic {expected}"


class _Handler(BaseHTTPRequestHandler):
    """Runs `git http-backend` as CGI (RFC 3875) for each request."""

    git_server: GitServer

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        self.git_server.requests.append(f"{self.command} {self.path}")
        if not self.git_server.can_read(path, self.headers["Authorization"]):
            self._respond(401, {"WWW-Authenticate": 'Basic realm="git"'}, b"")
            return
        result = subprocess.run(
            [program("git", "git"), "http-backend"],
            input=self.rfile.read(int(self.headers["Content-Length"] or 0)),
            env=self._environment(path, query),
            capture_output=True,
            check=False,
        )
        header_lines, _, body = result.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in header_lines.decode().splitlines() if ": " in line)
        status = int(headers.pop("Status", "200").split()[0])
        self._respond(status, headers, body)

    def do_POST(self) -> None:
        self.do_GET()

    def _environment(self, path: str, query: str) -> dict[str, str]:
        return os.environ | {
            "GIT_PROJECT_ROOT": str(self.git_server.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_PROTOCOL": self.headers["Git-Protocol"] or "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers["Content-Type"] or "",
            "CONTENT_LENGTH": self.headers["Content-Length"] or "",
            "HTTP_CONTENT_ENCODING": self.headers["Content-Encoding"] or "",
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_USER": "git",
        }

    def _respond(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing: `GitServer.requests` records the requests."""


@contextlib.contextmanager
def running_git_server(folder: Path) -> Iterator[GitServer]:
    """Serve the bare repositories below `folder` on a free loopback port."""

    class Handler(_Handler):
        """A handler of its own for each server, so that several can run."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = GitServer(folder, f"http://127.0.0.1:{http.server_port}")
    Handler.git_server = server
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


@pytest.fixture
def git_server(tmp_path: Path) -> Iterator[GitServer]:
    """A git server without repositories; `.create("owner/name")` adds one."""
    with running_git_server(tmp_path / "git") as server:
        yield server
