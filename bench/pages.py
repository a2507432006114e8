"""Compare the page of a repository with a README of 25 kB with rendering that README for each request.

    python -m bench.pages [--rounds 300]

Hythe stores the HTML when the README is written. Prints the median times of the page over HTTP, of the same page
without a README, and of the rendering (the peer), and the ratio of rendering to page (above 1: the page is faster).
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from tests.parts.process import own_folder

from bench.servers import Server, hythe_hub, request
from hythe.hub.repositories.markdown import render

USER, PASSWORD = "ann", "correct horse"
SIZE = 25_000

PART = """
## Using `app`

Run it with **two** volumes, see [the documentation](https://example.com/docs) or <https://example.com>:

```console
$ docker run -d --name app -v data:/var/lib/app -p 8080:80 app:latest
```

| variable | meaning | default |
|---|---|---|
| `APP_MODE` | how it runs | `server` |
| `APP_LEVEL` | what it *logs* | `info` |

1. Pull the image.
2. Start it.
   - [x] with a volume
   - [ ] without
"""


def readme() -> str:
    """Return a README of the largest size that a description can have."""
    return (PART * (SIZE // len(PART) + 1))[:SIZE]


def median(work: Callable[[], object], rounds: int) -> float:
    """Return the median time in seconds."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def page(connection: http.client.HTTPConnection, path: str) -> bytes:
    """Return a page."""
    connection.request("GET", path)
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise RuntimeError(f"{path}: {response.status}")
    return content


def create(hub: Server, name: str, text: str) -> None:
    """Create a repository with this README."""
    body = {"namespace": USER, "name": name, "full_description": text}
    credentials = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    post(hub, "/api/v1/repositories", body, {"Authorization": f"Basic {credentials}"})


def post(hub: Server, path: str, body: dict[str, str], headers: dict[str, str]) -> None:
    """Send a JSON body."""
    request("POST", hub.url + path, json.dumps(body).encode(), headers | {"Content-Type": "application/json"})


def measure(folder: Path, rounds: int) -> None:
    """Run the hub and print the times."""
    with hythe_hub(folder) as hub:
        post(hub, "/api/v1/users", {"username": USER, "email": "ann@example.com", "password": PASSWORD}, {})
        create(hub, "full", readme())
        create(hub, "empty", "")
        connection = http.client.HTTPConnection("127.0.0.1", hub.port)
        size = len(page(connection, f"/{USER}/full"))
        full = median(lambda: page(connection, f"/{USER}/full"), rounds)
        empty = median(lambda: page(connection, f"/{USER}/empty"), rounds)
        connection.close()
    peer = median(lambda: render(readme()), rounds)
    print(f"page with a README of {SIZE} bytes ({size} bytes of HTML): {full * 1000:.2f} ms")
    print(f"the same page without a README: {empty * 1000:.2f} ms")
    print(f"rendering the README for each request: {peer * 1000:.2f} ms, ratio {peer / full:.2f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=300, help="requests of each kind")
    arguments = parser.parse_args()
    with own_folder("bench-pages") as folder:
        measure(folder, arguments.rounds)


if __name__ == "__main__":
    main()
