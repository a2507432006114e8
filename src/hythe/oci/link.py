"""The ``Link`` header, with which registries point to the next page of a list (RFC 8288)."""

import re

_LINK = re.compile(r"<([^<>]*)>")
_LINK_PARAMETER = re.compile(r"\s*;\s*([A-Za-z*_-]+)\s*(?:=\s*(?:[\"']([^\"']*)[\"']|([^\s,;\"']*))|(?=[;,]|$)())")


def next_page(link: str) -> str:
    """Return the target of the link with the relation ``next`` in a ``Link`` header, or "" (RFC 8288).

    A link without any relation counts, too, and one without angle brackets.
    """
    if "<" not in link:
        target, _, parameters = link.partition(";")
        link = f"<{target.strip()}>;{parameters}"
    position = 0
    while match := _LINK.search(link, position):
        position = match.end()
        relations: list[str] | None = None
        while parameter := _LINK_PARAMETER.match(link, position):
            position = parameter.end()
            if parameter[1].lower() == "rel":
                relations = [*(relations or ()), *(parameter[2] or parameter[3] or "").lower().split()]
        if relations is None or "next" in relations:
            return match[1].strip()
    return ""
