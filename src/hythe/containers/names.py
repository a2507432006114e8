"""Names of containers: the grammar, and new ones in docker's manner."""

import re
import secrets

from hythe.containers.errors import InvalidOption

_GRAMMAR = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_MOODS = (
    "airy bold brave brisk calm clear clever cosy curious eager easy fair fond fresh gentle glad golden grand happy "
    "hardy hearty honest jolly keen kind lively lucid lucky mellow merry neat nimble noble patient placid plucky "
    "polite proud quick quiet ready robust rosy serene sharp shiny silent smart snug sober sound spry stable steady "
    "stout sturdy sunny sweet swift tender tidy tranquil trusty upbeat vivid warm wise witty zesty"
)
_SHIPS = (
    "anchor barge barque beacon bollard bosun bowline brig buoy capstan caravel carrack clipper cog compass cutter "
    "dinghy dory ferry fleet galley gannet gull hoy hulk jetty jib junk keel ketch lantern lighter longboat lugger "
    "mast mole mooring osprey packet pilot pinnace plover punt quay raft rudder schooner sextant shallop skiff sloop "
    "smack spar sprit staith tender tern tiller topsail towline trawler tug wharf wherry windlass yawl"
)


def new_name() -> str:
    """Return a random name such as ``sturdy_lighter``."""
    return f"{secrets.choice(_MOODS.split())}_{secrets.choice(_SHIPS.split())}"


def new_id() -> str:
    """Return a random container ID: 64 hex digits, as docker's."""
    return secrets.token_hex(32)


def parse_container_name(text: str) -> str:
    """Return ``text`` when it may name a container; raises InvalidOption."""
    if not _GRAMMAR.fullmatch(text) or len(text) > 128:
        raise InvalidOption(f"{text!r} cannot name a container", "use 2 to 128 letters, digits, '_', '.' and '-'")
    return text
