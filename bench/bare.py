"""A bare application on Hythe's HTTP server: the upper limit for any application on it.

``GET /manifest`` and ``GET /blob`` return two files of a folder; the manifest is kept in memory.
"""

import sys
from pathlib import Path

import uvloop
from starlette.types import Receive, Scope, Send

from hythe.server.http import HTTPOptions, serve
from hythe.server.listening import bind
from hythe.server.reloading import SettingsReload
from hythe.settings import Settings


class Bare:
    """An ASGI application that always returns the same bytes."""

    def __init__(self, folder: Path) -> None:
        self._blob = folder / "blob"
        manifest = folder / "manifest"
        self._manifest = manifest.read_bytes() if manifest.exists() else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["path"] == "/blob":
            size = self._blob.stat().st_size
            await send({"type": "http.response.start", "status": 200, "headers": _length(size)})
            await send({"type": "http.response.pathsend", "path": str(self._blob), "start": 0, "stop": size})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": _length(len(self._manifest))})
            await send({"type": "http.response.body", "body": self._manifest})


def _length(length: int) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", b"%d" % length)]


async def main() -> None:
    """Serve the folder that the second argument names, on the port that the first one names."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    options = HTTPOptions(75, 120, 1)
    await serve(Bare(folder), bind(("127.0.0.1", port)), options, SettingsReload(Settings(), Settings))


if __name__ == "__main__":
    uvloop.run(main())
