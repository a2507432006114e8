"""What builders do not support is found before the build."""

from collections.abc import Callable

import pytest

from hythe.worker.dockerfiles.features import (
    require_buildah_features,
    require_buildkit_features,
    require_docker_features,
)
from hythe.worker.errors import InvalidDockerfile


def buildah_1_28(text: str) -> None:
    """Debian 12's buildah."""
    require_buildah_features(text, (1, 28))


def buildah_1_40(text: str) -> None:
    """A newer one."""
    require_buildah_features(text, (1, 40))


def docker(text: str) -> None:
    """A docker engine, with network."""
    require_docker_features(text, offline=False)


@pytest.mark.parametrize(
    ("builder", "line", "reason"),
    [
        (
            buildah_1_28,
            "COPY --from=b --exclude=x y z",
            "buildah 1.28 does not support COPY --from with --exclude: use a",
        ),
        (
            buildah_1_28,
            "COPY --from=b --parents y z",
            "with --parents: use a worker with buildah 1.40 or newer or BuildKit",
        ),
        (buildah_1_28, "COPY --from=b --chmod=u+x y z", "with a symbolic --chmod: write the mode as a number"),
        (buildah_1_28, "RUN --mount=type=secret,id=x,env=X y", "a secret as a variable (env=): read it from"),
        (buildah_1_28, "RUN --device=x y", "RUN --device: use a worker with BuildKit"),
        (buildah_1_28, "ADD --unpack https://h/x.tar /", "ADD --unpack of a URL: unpack it with RUN"),
        (buildah_1_28, "HEALTHCHECK --start-interval=1s CMD x", "HEALTHCHECK --start-interval: remove it"),
        (buildah_1_40, "RUN --security=insecure x", "RUN --security=insecure is not allowed: remove the flag"),
        (require_buildkit_features, "RUN --security=insecure x", "RUN --security=insecure is not allowed"),
        (docker, "RUN --security=insecure x", "RUN --security=insecure is not allowed"),
        (
            docker,
            "RUN --mount=type=cache,target=/c x",
            "the builder of docker engines does not support RUN --mount: use a",
        ),
        (docker, "RUN --network=none x", "RUN --network=none: use a worker with buildah or BuildKit"),
        (docker, "RUN <<EOF\nx\nEOF", "here-documents: use a worker with buildah or BuildKit"),
        (docker, "COPY --chmod=600 x y", "COPY --chmod: use"),
        (docker, "COPY --parents x y", "COPY --parents: use"),
        (docker, "COPY --exclude=z x y", "COPY --exclude: use"),
        (docker, "ADD --checksum=sha256:0 https://h/x y", "ADD --checksum: use"),
        (docker, "ADD https://h/x.git y", "ADD of a git repository: use"),
    ],
)
def test_the_error_names_the_line_and_what_would_do_it(builder: Callable[[str], None], line: str, reason: str) -> None:
    """One sentence."""
    with pytest.raises(InvalidDockerfile) as caught:
        builder(f"FROM a\n\n{line}\n")

    assert str(caught.value).startswith("Dockerfile line 3: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("builder", "line"),
    [
        (buildah_1_28, "COPY --exclude=x --parents --link --chmod=u+x y z"),
        (buildah_1_28, "RUN --network=none --mount=type=secret,id=x y"),
        (buildah_1_40, "COPY --from=b --exclude=x --parents y z"),
        (docker, "COPY --link --from=b x y"),
        (docker, "RUN --network=host x"),
        (docker, "HEALTHCHECK --start-interval=1s CMD x"),
        (require_buildkit_features, "RUN --network=none --mount=type=secret,id=x,env=X <<EOF\nx\nEOF"),
    ],
)
def test_what_builders_support(builder: Callable[[str], None], line: str) -> None:
    """By themselves, or after the worker rewrote the Dockerfile."""
    builder(f"FROM a AS b\nFROM a\n{line}\n")


def test_steps_without_network_where_no_step_has_one() -> None:
    """A docker engine can build them."""
    require_docker_features("FROM a\nRUN --network=none x\n", offline=True)
