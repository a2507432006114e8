"""The ``WWW-Authenticate`` header: challenges as values (RFC 9110, section 11.6.1; distribution, "Token")."""

import re

import msgspec

_SCHEME = re.compile(r"[\s,;]*([A-Za-z][A-Za-z0-9!#$%&'*+.^_`|~-]*)(?:\s+(?!=)|$|(?=,))")
_PARAMETER = re.compile(r"[\s,;]*([A-Za-z0-9_-]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)(?:\"|\\?$)|([^\s,;\"=][^\s,;\"]*))")
_TOKEN68 = re.compile(r"[\s,;]*[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))")
"""The data of a scheme such as Negotiate, in place of parameters (RFC 9110, section 11.2)."""
_SKIPPED = re.compile(r"[\s,;]*(?:\"(?:[^\"\\]|\\.)*\"?|[^\s,;\"]+)")


class Challenge(msgspec.Struct, frozen=True):
    """One authentication scheme that a server offers; ``scheme`` and parameter names are lower case."""

    scheme: str
    parameters: dict[str, str]

    def __str__(self) -> str:
        pairs = ",".join(f'{name}="{_escape(value)}"' for name, value in self.parameters.items())
        return f"{self.scheme.title()} {pairs}"


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Return the challenges in a header, or in several joined by commas; skip malformed parts.

    A repeated ``scope`` adds to the first; of other repeated parameters the last counts.
    """
    challenges: list[Challenge] = []
    position = 0
    while position < len(header):
        if challenges and (match := _PARAMETER.match(header, position)):
            value = match[3] if match[2] is None else re.sub(r"\\(.)", r"\1", match[2])
            _add_parameter(challenges[-1].parameters, match[1].lower(), value)
        elif match := _SCHEME.match(header, position):
            challenges.append(Challenge(match[1].lower(), {}))
            if match[0][-1].isspace() and not _PARAMETER.match(header, match.end()):
                match = _TOKEN68.match(header, match.end()) or match
        elif not (match := _TOKEN68.match(header, position) or _SKIPPED.match(header, position)):
            break
        position = match.end()
    return tuple(challenges)


def _add_parameter(parameters: dict[str, str], name: str, value: str) -> None:
    earlier = parameters.get(name) if name == "scope" else None
    parameters[name] = f"{earlier} {value}" if earlier else value


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
