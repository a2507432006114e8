"""Any git address, without an account: what branches and tags there are, by git's smart HTTP protocol.

gitprotocol-http, version 0: the server's first answer lists every ref, in lines with their length before them.
"""

import re
from collections.abc import Iterator

import aiohttp
from yarl import URL

from hythe.egress import is_address, is_metadata_address
from hythe.forges.api import fetch
from hythe.forges.errors import ForgeAway, ForgeError, NoAddress, RightsLacking
from hythe.forges.port import MOST_REFS, parsed_ref
from hythe.forges.source_ref import SourceRef, SourceType

_HEAD = re.compile(rb"symref=HEAD:refs/heads/([^ \n\0]+)")


async def advertised(session: aiohttp.ClientSession, url: str) -> tuple[str, tuple[SourceRef, ...]]:
    """Return the default branch (empty: not said) and the branches and tags of a public http(s) address.

    ``session`` uses ``EgressResolver``. What goes wrong is told in few words: whoever asks shall not learn what else
    the hub can reach. Raises ForgeError, RightsLacking.
    """
    address, host = _looked_at(url)
    if is_address(host) and is_metadata_address(host):
        raise ForgeError(f"{host} is not a host that sources are fetched from")
    try:
        answer = await fetch(session, "GET", address, host, {"User-Agent": "git/hythe"}, None)
    except ForgeAway as error:
        raise ForgeError(f"{url} cannot be looked at from here", "look at the address") from error
    if answer.status in (401, 403, 404):
        raise RightsLacking(f"{url} is private, or is no git repository", "link an account, or give credentials")
    if answer.status != 200 or not answer.headers.get("content-type", "").startswith("application/x-git-upload-pack"):
        raise ForgeError(f"{url} is no git repository", "use the address for git clone")
    found = _HEAD.search(answer.body)
    return found[1].decode(errors="replace") if found else "", _refs(answer.body)


def _looked_at(url: str) -> tuple[URL, str]:
    """Return where the refs of an address are told, and its host."""
    try:
        address = URL(f"{url.rstrip('/')}/info/refs").update_query(service="git-upload-pack")
    except ValueError as error:
        raise NoAddress(f"{url!r} is not an address", "use the address for git clone") from error
    if address.scheme not in ("http", "https") or not address.host:
        raise NoAddress("only http and https addresses can be looked at without an account", "set it up as it is")
    return address, address.host


def _refs(advertisement: bytes) -> tuple[SourceRef, ...]:
    commits: dict[str, str] = {}
    for line in _lines(advertisement):
        commit, _, name = line.partition(b"\0")[0].strip().decode(errors="replace").partition(" ")
        # NAME^{} is the commit of the annotated tag in the line before.
        commits[name.removesuffix("^{}")] = commit
    refs = [ref for name, commit in commits.items() if (ref := parsed_ref(name, commit)) and ref.commit]
    branches = [ref for ref in refs if ref.type is SourceType.BRANCH]
    tags = [ref for ref in refs if ref.type is SourceType.TAG]
    return (*branches[:MOST_REFS], *tags[:MOST_REFS])


def _lines(content: bytes) -> Iterator[bytes]:
    place = 0
    while place + 4 <= len(content):
        try:
            length = int(content[place : place + 4], 16)
        except ValueError as error:
            raise ForgeError("this is not what git servers answer", "use the address for git clone") from error
        if length > 4:
            line = content[place + 4 : place + length]
            if not line.startswith(b"#"):
                yield line
        place += max(length, 4)
