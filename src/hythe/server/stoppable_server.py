"""uvicorn's server with a stop of its own, for one process or several that share a port."""

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import uvicorn

from hythe.server.listening import MAX_BACKLOG
from hythe.server.reloading import SettingsReload
from hythe.server.siblings import Siblings
from hythe.server.stopping import Stopping


class StoppableServer(uvicorn.Server):
    """uvicorn's server, stopped only by ``stop``: its own handler would end the process with the signal, not 0."""

    on_stop: Callable[[], None]
    stopping: Stopping
    siblings: Siblings | None
    drain_delay: int

    def stop(self) -> None:
        """Stop as ``stop_once`` says; a second call ends running requests."""
        if self.stopping.begun:
            self.end()
        else:
            self.stop_once()

    def stop_once(self) -> None:
        """After ``drain_delay``, stop listening and wait for running requests."""
        if self.stopping.begun:
            return
        self.stopping.begun = True
        if self.drain_delay:
            asyncio.get_running_loop().call_later(self.drain_delay, self._exit)
        else:
            self._exit()

    def end(self) -> None:
        """Stop now, and end running requests."""
        self.stopping.begun = self.force_exit = True
        self._exit()

    def _exit(self) -> None:
        self.should_exit = True
        self.on_stop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and tell the supervisor."""
        self._covering: dict[int, asyncio.Server] = {}
        await super().startup(sockets)
        if self.siblings is not None:
            self.siblings.open()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, also for other processes, and wait for running requests."""
        await super().shutdown([*(sockets or ()), *(self.siblings.listeners if self.siblings is not None else ())])

    def accept_for(self, number: int) -> None:
        """Accept connections also of process ``number``, which has ended."""
        task = asyncio.ensure_future(self._accept_for(number))
        task.add_done_callback(lambda done: done.exception())

    async def _accept_for(self, number: int) -> None:
        if self.siblings is None or self.should_exit or number in self._covering:
            return
        server = await asyncio.get_running_loop().create_server(
            self._connection, sock=self.siblings.listeners[number].dup(), ssl=self.config.ssl, backlog=MAX_BACKLOG
        )
        self._covering[number] = server
        self.servers.append(server)

    def decline_for(self, number: int) -> None:
        """Leave the connections of process ``number`` to it again."""
        server = self._covering.pop(number, None)
        if server is not None:
            self.servers.remove(server)
            server.close()

    def _connection(self) -> asyncio.Protocol:
        protocol: Any = self.config.http_protocol_class
        connection: asyncio.Protocol = protocol(config=self.config, server_state=self.server_state, app_state={})
        return connection

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Do nothing: ``serve`` handles signals."""
        return nullcontext()


def handle_signals(server: StoppableServer, reload: SettingsReload) -> None:
    """Stop the server at SIGTERM and SIGINT, or when its supervisor says so, and reload the settings at SIGHUP."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, reload.request)
    if server.siblings is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
        return
    # A service manager sends SIGTERM to this process and to its supervisor, which sends "stop": both are one request.
    loop.add_signal_handler(signal.SIGTERM, server.stop_once)
    server.siblings.on("stop", server.stop_once)
    server.siblings.on("end", server.end)
    server.siblings.on("reload", reload.request)
    for other in range(len(server.siblings.listeners)):
        server.siblings.on(f"accept {other}", partial(server.accept_for, other))
        server.siblings.on(f"decline {other}", partial(server.decline_for, other))
