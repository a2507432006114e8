"""in-toto statements about an image: SLSA provenance v1 (slsa.dev/provenance/v1), and SPDX documents as predicates."""

from collections.abc import Mapping
from typing import Any

import msgspec

from hythe.worker.protocol import Found, Job

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
SPDX = "https://spdx.dev/Document"
BUILD_TYPE = "https://hythe.dev/trusted-build/v1"


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What a build knows of itself when it is done; times as RFC 3339."""

    found: Found
    dockerfile_digest: str
    bases: Mapping[str, str]
    builder: str
    isolation: str
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


def provenance(job: Job, made: Made) -> dict[str, Any]:
    """Return the provenance: source, commit, rule, Dockerfile, arguments (never secrets), bases, builder."""
    rule = job.rule
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "source": job.source_url,
                "ref": f"{job.ref.type.value} {job.ref.name}",
                "rule": rule.source,
                "context": rule.context,
                "dockerfile": rule.dockerfile,
                "arguments": rule.arguments,
                "target": rule.target,
                "platforms": list(rule.platforms),
                "tags": list(job.tags),
            },
            "internalParameters": {"isolation": made.isolation, "network": job.limits.network.value},
            "resolvedDependencies": [
                {"uri": f"git+{job.source_url}", "digest": {"gitCommit": made.found.commit}},
                {"uri": f"git+{job.source_url}#{rule.dockerfile}", "digest": _digest(made.dockerfile_digest)},
                *({"uri": f"oci:{name}", "digest": _digest(digest)} for name, digest in made.bases.items()),
            ],
        },
        "runDetails": {
            "builder": {"id": f"{job.hub_url}/trusted-builds", "version": {"builder": made.builder}},
            "metadata": {
                "invocationId": f"{job.hub_url}/{job.repository}/builds/{job.number}",
                "startedOn": made.started,
                "finishedOn": made.finished,
            },
        },
    }


def _digest(text: str) -> dict[str, str]:
    algorithm, _, value = text.partition(":")
    return {algorithm: value}
