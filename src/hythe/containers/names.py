"""Container names and IDs: validation, and random ones like docker's."""

import re
import secrets

from hythe.containers.errors import InvalidOption

_GRAMMAR = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_ADJECTIVES = (
    "airy bold brave brisk calm clear clever cosy curious eager easy fair fond fresh gentle glad golden grand happy "
    "hardy hearty honest jolly keen kind lively lucid lucky mellow merry neat nimble noble patient placid plucky "
    "polite proud quick quiet ready robust rosy serene sharp shiny silent smart snug sober sound spry stable steady "
    "stout sturdy sunny sweet swift tender tidy tranquil trusty upbeat vivid warm wise witty zesty"
)
_NOUNS = (
    "anchor barge barque beacon bollard bosun bowline brig buoy capstan caravel carrack clipper cog compass cutter "
    "dinghy dory ferry fleet galley gannet gull hoy hulk jetty jib junk keel ketch lantern lighter longboat lugger "
    "mast mole mooring osprey packet pilot pinnace plover punt quay raft rudder schooner sextant shallop skiff sloop "
    "smack spar sprit staith tender tern tiller topsail towline trawler tug wharf wherry windlass yawl"
)


def new_name() -> str:
    """Return a random name such as ``sturdy_lighter``."""
    return f"{secrets.choice(_ADJECTIVES.split())}_{secrets.choice(_NOUNS.split())}"


def new_id() -> str:
    """Return a random container ID: 64 hex digits, like docker's."""
    return secrets.token_hex(32)


def parse_container_name(text: str) -> str:
    """Return ``text`` if it is a valid container name; raises InvalidOption."""
    if not _GRAMMAR.fullmatch(text) or len(text) > 128:
        raise InvalidOption(f"invalid container name {text!r}", "use 2 to 128 letters, digits, '_', '.' and '-'")
    return text
