"""The HTTP server with a small application for tests: it sends files of a folder and counts the bytes of uploads."""

import asyncio
import json
import sys
from pathlib import Path

import uvloop
from starlette.types import Receive, Scope, Send

from hythe.server.certificate import Certificate
from hythe.server.connections import Connections
from hythe.server.http import HTTPOptions, serve
from hythe.server.listening import bind
from hythe.server.reloading import SettingsReload
from hythe.settings import Settings


class FileServer:
    """GET sends a file (a range with ``?START-STOP``) or ``/endless`` bytes; PUT returns the size of its body."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "PUT":
            await self._count(receive, send)
            return
        if scope["path"] == "/endless":
            await _send_endlessly(send)
            return
        if scope["path"] == "/client":
            await _respond(send, f"{scope['scheme']} {scope['client'][0]}".encode())
            return
        path = self._folder / scope["path"].lstrip("/")
        start, _, stop = scope["query_string"].decode().partition("-")
        part = {"start": int(start), "stop": int(stop)} if stop else {}
        length = int(stop) - int(start) if stop else path.stat().st_size
        await send({"type": "http.response.start", "status": 200, "headers": _length(length)})
        await send({"type": "http.response.pathsend", "path": str(path), **part})

    async def _count(self, receive: Receive, send: Send) -> None:
        count, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                print(f"disconnect after {count}", flush=True)
                return
            count, more = count + len(message["body"]), message["more_body"]
        await _respond(send, str(count).encode())


async def _respond(send: Send, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": _length(len(body))})
    await send({"type": "http.response.body", "body": body})


async def _send_endlessly(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    piece = {"type": "http.response.body", "body": bytes(65536), "more_body": True, "stop_when_gone": True}
    try:
        while True:
            await send(piece)
            await asyncio.sleep(0)
    except ConnectionResetError:
        print("disconnected", flush=True)
        raise


def _length(length: int) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", str(length).encode())]


async def main(folder: str, idle: str, stall: str, stop: str, host: str, proxies: str, more: str, *tls: str) -> None:
    listener = bind((host, 0))
    print(listener.getsockname()[1], flush=True)
    certificate = Certificate(*tls) if tls else None
    settings = Settings(trusted_proxies=proxies, **json.loads(more))
    options = HTTPOptions(
        int(idle),
        int(stall),
        int(stop),
        certificate,
        settings.proxies,
        drain_delay=settings.drain_delay,
        transfer_rate=settings.transfer_rate,
        connections=Connections(settings),
    )
    await serve(FileServer(Path(folder)), listener, options, SettingsReload(Settings(), Settings))


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
