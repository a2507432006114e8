"""The parent of the processes that `preloaded.py` starts: imports the server once, and forks for each process.

The script's argument is the number of a socket. Each message there is a request; its response is sent before the next
request is read. A forked child leaves the loop and runs the command in the same way as its own interpreter would.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import socket
import sys
from typing import Any

MODULES = ("uvloop", "hythe.cli.main", "hythe.cli.admin", "hythe.cli.registry", "hythe.cli.serve", "hythe.server.hub")
"""What a server imports before it serves; `hythe admin` needs the same."""

LARGEST_REQUEST = 1 << 20


def serve(requests: socket.socket) -> dict[str, Any] | None:
    """Respond to requests until the tests end; in a forked child, return what it should run."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, LARGEST_REQUEST, 3)
        if not message:
            return None
        request: dict[str, Any] = json.loads(message)
        if "command" not in request:
            requests.send(json.dumps(exit_code(request["poll"])).encode())
            continue
        child = os.fork()
        if child == 0:
            requests.close()
            take_over(request, descriptors)
            return request
        for descriptor in descriptors:
            os.close(descriptor)
        requests.send(json.dumps(child).encode())


def exit_code(child: int) -> int | None:
    """Return a child's exit code, or minus the signal that ended it; None while it runs."""
    done, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def take_over(request: dict[str, Any], descriptors: list[int]) -> None:
    """Give this process its own session, stdin, stdout, stderr, environment and arguments."""
    os.setsid()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = request["command"]


def main() -> None:
    """Import everything, then serve."""
    for module in MODULES:
        importlib.import_module(module)
    gc.freeze()  # so that collections in the children do not copy the pages of all these modules
    ours = serve(socket.socket(fileno=int(sys.argv[1])))
    if ours is not None:
        runpy.run_path(ours["command"][0], run_name="__main__")


if __name__ == "__main__":
    main()
