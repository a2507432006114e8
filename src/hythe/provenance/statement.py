"""in-toto statements about an image: SLSA provenance v1 (slsa.dev/provenance/v1), and SPDX documents as predicates."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
SPDX = "https://spdx.dev/Document"
BUILD_TYPE = "https://hythe.dev/trusted-build/v1"
NO_CACHE = "none"
"""The provenance's ``cache`` of a build that used nothing of earlier builds."""
LAYERS_PREFIX = "oci-layers:"
"""The URI scheme of layers of earlier builds."""
_SHA1_LENGTH = 40


class BuildFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a build for its provenance; times as RFC 3339. ``ref`` is for instance ``branch main``."""

    source_url: str
    ref: str
    commit: str
    rule: str
    context: str
    dockerfile: str
    dockerfile_digest: str
    arguments: Sequence[str]
    """The names of the build arguments: everyone can read the provenance of a public image, so it has no values."""
    target: str
    platforms: Sequence[str]
    tags: Sequence[str]
    bases: Mapping[str, str]
    """Base image as the Dockerfile names it -> digest."""
    repositories: Mapping[str, str] = {}
    """Git repository that ``ADD`` names, with its ref -> commit."""
    layers: Mapping[str, str]
    """Repository with layers of an earlier build that the build could use -> digest of their index."""
    cached: str
    """Names what the build could use of earlier builds; NO_CACHE: nothing."""
    hooks: Sequence[str]
    """The hooks of the source that ran."""
    isolation: str
    network: str
    builder: str
    hub_url: str
    repository: str
    number: int
    started: str
    finished: str


def statement(name: str, digest: str, predicate_type: str, predicate: object) -> bytes:
    """Return an in-toto statement about the image NAME@DIGEST."""
    algorithm, _, value = digest.partition(":")
    return msgspec.json.encode(
        {
            "_type": STATEMENT,
            "subject": [{"name": name, "digest": {algorithm: value}}],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )


def provenance(build: BuildFacts) -> dict[str, Any]:
    """Return the provenance: source, commit, rule, Dockerfile, names of arguments, base images, cache, builder."""
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "source": build.source_url,
                "ref": build.ref,
                "rule": build.rule,
                "context": build.context,
                "dockerfile": build.dockerfile,
                "arguments": list(build.arguments),
                "target": build.target,
                "platforms": list(build.platforms),
                "tags": list(build.tags),
            },
            "internalParameters": {
                "isolation": build.isolation,
                "network": build.network,
                "cache": build.cached,
                "hooks": list(build.hooks),
            },
            "resolvedDependencies": [
                {"uri": f"git+{build.source_url}", "digest": {"gitCommit": build.commit}},
                {"uri": f"git+{build.source_url}#{build.dockerfile}", "digest": _digest(build.dockerfile_digest)},
                *({"uri": f"oci:{name}", "digest": _digest(digest)} for name, digest in build.bases.items()),
                *_repositories(build.repositories),
                *(
                    {"uri": f"{LAYERS_PREFIX}{name}", "digest": _digest(digest), "name": "layers of an earlier build"}
                    for name, digest in build.layers.items()
                ),
            ],
        },
        "runDetails": {
            "builder": {"id": f"{build.hub_url}/trusted-builds", "version": {"builder": build.builder}},
            "metadata": {
                "invocationId": f"{build.hub_url}/{build.repository}/builds/{build.number}",
                "startedOn": build.started,
                "finishedOn": build.finished,
            },
        },
    }


def _repositories(commits: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the repositories of ``ADD``. Only the source has a ``gitCommit``: the hub checks that it is the build's."""
    for name, commit in commits.items():
        algorithm = "sha1" if len(commit) == _SHA1_LENGTH else "sha256"
        yield {"uri": f"git+{name}", "digest": {algorithm: commit}, "name": "git repository of ADD"}


def _digest(text: str) -> dict[str, str]:
    algorithm, _, value = text.partition(":")
    return {algorithm: value}
