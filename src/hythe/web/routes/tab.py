"""The way between pages that belong together."""

import msgspec


class Tab(msgspec.Struct, frozen=True):
    """One of them; ``current`` is the page that is shown."""

    address: str
    title: str
    current: bool


def tabs(current: str, *pages: tuple[str, str]) -> tuple[Tab, ...]:
    """Return the tabs of pages, given by address and title, seen from the page of the address ``current``."""
    return tuple(Tab(address, title, address == current) for address, title in pages)
