"""Lists the branches and tags of a public git URL without an account, by git's smart HTTP protocol.

gitprotocol-http, version 0: the first response lists every ref, in lines that start with their length.
"""

import re
from collections.abc import Iterator

import aiohttp
from yarl import URL

from hythe.egress.http_session import egress_denial
from hythe.forges.api import ApiResponse, fetch
from hythe.forges.errors import ForgeError, ForgeUnavailable, InvalidURL, PermissionDenied
from hythe.forges.port import MAX_REFS
from hythe.forges.source_ref import SourceRef, SourceType, parse_ref

USE_CLONE_URL = "use the URL that git clone accepts"
_HEAD = re.compile(rb"symref=HEAD:refs/heads/([^ \n\0]+)")


async def list_refs(session: aiohttp.ClientSession, url: str) -> tuple[str, tuple[SourceRef, ...]]:
    """Return the default branch ("" if unknown) and the branches and tags of a public http(s) URL.

    ``session`` obeys the egress policy. Errors have no details, so that callers cannot probe the hub's network.
    Raises InvalidURL, PermissionDenied, ForgeError.
    """
    request_url, host = _request_url(url)
    try:
        response = await fetch(session, "GET", request_url, host, {"User-Agent": "git/hythe"}, None)
    except ForgeUnavailable as error:
        denied = egress_denial(error)
        raise ForgeError(f"cannot read {url}{f': {denied}' if denied else ''}", "check the URL") from error
    _require_repository(url, response)
    head = _HEAD.search(response.body)
    return head[1].decode(errors="replace") if head else "", _parse_refs(response.body)


def _require_repository(url: str, response: ApiResponse) -> None:
    content_type = response.headers.get("content-type", "")
    if response.status in (401, 403, 404):
        raise PermissionDenied(f"{url} is private or not a git repository", "link an account, or enter credentials")
    if response.status != 200 or not content_type.startswith("application/x-git-upload-pack"):
        raise ForgeError(f"{url} is not a git repository", USE_CLONE_URL)


def _request_url(url: str) -> tuple[URL, str]:
    """Return the URL that lists the refs of a repository, and its host."""
    try:
        request_url = URL(f"{url.rstrip('/')}/info/refs").update_query(service="git-upload-pack")
    except ValueError as error:
        raise InvalidURL(f"invalid URL {url!r}", USE_CLONE_URL) from error
    if request_url.scheme not in ("http", "https") or not request_url.host:
        raise InvalidURL(
            "only http and https URLs can be previewed without a linked account", "configure the builds without preview"
        )
    return request_url, request_url.host


def _parse_refs(advertisement: bytes) -> tuple[SourceRef, ...]:
    commits: dict[str, str] = {}
    for line in _lines(advertisement):
        commit, _, name = line.partition(b"\0")[0].strip().decode(errors="replace").partition(" ")
        # NAME^{} is the commit of the annotated tag in the line before.
        commits[name.removesuffix("^{}")] = commit
    refs = [ref for name, commit in commits.items() if (ref := parse_ref(name, commit)) and ref.commit]
    branches = [ref for ref in refs if ref.type is SourceType.BRANCH]
    tags = [ref for ref in refs if ref.type is SourceType.TAG]
    return (*branches[:MAX_REFS], *tags[:MAX_REFS])


def _lines(content: bytes) -> Iterator[bytes]:
    position = 0
    while position + 4 <= len(content):
        try:
            length = int(content[position : position + 4], 16)
        except ValueError as error:
            raise ForgeError("invalid response from the git server", USE_CLONE_URL) from error
        if length > 4:
            line = content[position + 4 : position + length]
            if not line.startswith(b"#"):
                yield line
        position += max(length, 4)
