"""Words for numbers, as errors, commands and pages show them."""


def counted(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun: ``1 pull``, ``2,000 pulls``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
