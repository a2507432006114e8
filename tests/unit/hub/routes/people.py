"""The clients of the running hub, by user."""

from collections.abc import Callable

import httpx2

PASSWORD = "correct horse"

People = Callable[[str], httpx2.Client]
