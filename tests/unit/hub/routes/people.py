"""The people of these tests: each a client of the running hub."""

from collections.abc import Callable

import httpx2

PASSWORD = "correct horse"

People = Callable[[str], httpx2.Client]
