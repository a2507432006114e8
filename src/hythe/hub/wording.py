"""Words for numbers, as errors, commands and pages show them."""


def counted(count: int, one: str, many: str = "", *, exact: bool = True) -> str:
    """Return a count with its noun: ``1 pull``, ``2,000 pulls``; not ``exact``: ``10,000+ pulls``."""
    return f"{count:,}{'' if exact else '+'} {one if count == 1 and exact else many or one + 's'}"
