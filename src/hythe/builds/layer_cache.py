"""Decides what a build may take over from earlier builds: layers of its own rule and branch, and nothing else.

Which layers is in the row of the build that made them, by digest: a tag in the repository, which hooks and people can
move, decides nothing. A worker records no layers of a build with hooks, because hooks can write to the build's disk.
"""

import hashlib

from hythe.builds.build import Build
from hythe.builds.configuration import BuildConfiguration
from hythe.builds.sql import builds as rows
from hythe.database import Session
from hythe.forges.source_ref import SourceType
from hythe.worker.protocol import BuildCache


async def layer_cache(session: Session, configuration: BuildConfiguration, build: Build) -> BuildCache:
    """Return the cache for a build: nothing for tags, pull requests, rules without cache, and builds that compare."""
    is_branch = build.ref.type is SourceType.BRANCH
    if not (is_branch and build.trusted and build.rule.cache) or build.reproduces is not None:
        return BuildCache()
    key = _key(configuration, build)
    found = await rows.last_of_branch(session, build)
    if found is None or found[1].cache_key != key:
        return BuildCache(key=key)
    number, result = found
    return BuildCache(key=key, layers=result.layers, build=number)


def _key(configuration: BuildConfiguration, build: Build) -> str:
    """Return the key of builds that may share: of one rule and branch, while the source stays the same."""
    text = f"{configuration.source.url}\n{build.rule.id}\n{build.ref.name}"
    return f"{configuration.id}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def configuration_id_of(key: str) -> int:
    """Return the id of the build configuration that a key belongs to, 0 if it is invalid."""
    number = key.partition("-")[0]
    return int(number) if number.isascii() and number.isdigit() and len(number) < 19 else 0
