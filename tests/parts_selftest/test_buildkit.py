"""The stand-in for `buildctl` builds what it is told well, and refuses everything else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.parts.buildkit import BuildKit


def buildctl(buildkit: BuildKit, *words: str) -> subprocess.CompletedProcess[str]:
    """Run it against its daemon."""
    command = [str(buildkit.folder / "buildctl"), "--addr", buildkit.address, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def good(folder: Path) -> list[str]:
    """Words that it takes: a build of nothing but a file."""
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    words = ["build", "--progress", "plain", "--frontend", "dockerfile.v0", "--local", f"context={folder}"]
    words += ["--local", f"dockerfile={folder}", "--opt", "build-arg:SOURCE_DATE_EPOCH=1"]
    return [*words, "--output", f"type=oci,dest={folder}/out.tar,rewrite-timestamp=true"]


def test_a_build_comes_out_as_an_archive(buildkit: BuildKit, tmp_path: Path) -> None:
    """An OCI archive; progress is on stderr alone."""
    done = buildctl(buildkit, *good(tmp_path))

    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "#1 [internal] load build definition" in done.stderr
    assert (tmp_path / "out.tar").stat().st_size > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--build-arg", "a=b"], "Incorrect Usage"),
        (["--progress", "fancy"], "Incorrect Usage"),
        (["somewhere"], "Incorrect Usage"),
        (["--opt", "networkmode=none"], "no documented option"),
        (["--opt", "force-network-mode=some"], "invalid network mode"),
        (["--opt", "platform=linux/amd64,linux/arm64"], "invalid platform"),
        (["--opt", "context:base=oci-layout://base"], "invalid context specifier"),
        (["--oci-layout", "base=/tmp"], "a layout was given that no context names"),
        (["--local", "other=/tmp"], "wants the local sources"),
        (["--secret", "id=a,src=/no/such/file"], "failed to stat"),
        (["--secret", "id=a,value=b"], "unexpected key 'value'"),
        (["--output", "type=docker,dest=/tmp/a.tar"], "one output"),
    ],
    ids=lambda value: "_".join(value).replace("/", "-") if isinstance(value, list) else "",
)
def test_what_buildctl_does_not_know_is_refused(
    buildkit: BuildKit, tmp_path: Path, words: list[str], said: str
) -> None:
    """A flag, an option or a value beside the documented ones ends it before it builds."""
    done = buildctl(buildkit, *good(tmp_path), *words)

    assert done.returncode == 1
    assert said in done.stderr
    assert not (tmp_path / "out.tar").exists()


def test_nobody_at_the_address(buildkit: BuildKit, tmp_path: Path) -> None:
    """It says which connection failed."""
    command = [str(buildkit.folder / "buildctl"), "--addr", f"unix://{tmp_path}/nobody.sock", "debug", "info"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "connection error" in done.stderr
