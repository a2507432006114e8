"""What builders print becomes the log and the reason. Lines of buildah are captured, others follow documentation."""

from collections.abc import Iterable, Sequence

import msgspec
import pytest
from tests.unit.worker.test_shared_layers import JOB

from hythe.worker.build_messages import BuildMessage, LogLine
from hythe.worker.builders.buildah_output import BuildahOutput
from hythe.worker.builders.buildah_phases import Phase
from hythe.worker.builders.buildkit_output import BuildKitOutput
from hythe.worker.builders.docker_output import DockerOutput
from hythe.worker.builders.output import BuilderOutput
from hythe.worker.dockerfiles.parsing import parse
from hythe.worker.errors import BuildStopped, Interrupted, LimitReached
from hythe.worker.progress import ProgressReporter

SECRET = "hush-hush-42"
TINY = "FROM scratch\nADD rootfs.tar /\n"
START = ["STEP 1/3: FROM scratch", "STEP 2/3: ADD rootfs.tar /", "--> 44259e95dce"]
FINAL = Phase("", is_online=True, is_final=True)


class Log:
    """The log of a build, as users see it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        job = msgspec.structs.replace(JOB, secrets={"token": SECRET})
        self.progress = ProgressReporter(job, self._receive)

    def _receive(self, message: BuildMessage) -> None:
        if isinstance(message, LogLine):
            self.lines.append(message.text)


def buildah(dockerfile: str, lines: Iterable[str], offline: Sequence[int] = ()) -> tuple[BuildahOutput, Log]:
    """Return buildah's output after these lines, and the log."""
    log = Log()
    instructions = parse(dockerfile)
    pairs = [(each, each) for each in instructions]
    output = BuildahOutput(instructions, pairs, offline, "/work/src", log.progress)
    output.start_phase(FINAL)
    for line in lines:
        output.line(line)
    return output, log


@pytest.mark.parametrize(
    ("step", "lines", "code", "reason"),
    [
        (
            "RUN echo oh no && exit 7",
            ["oh no", *["subprocess exited with status 7"] * 2, 'Error: building at STEP "%s": exit status 7'],
            7,
            "Dockerfile line 3 (RUN echo oh no && exit 7) failed with exit code 7; its last output: oh no",
        ),
        (
            "RUN false",
            ['Error: building at STEP "%s": while running runtime: exit status 1'],
            1,
            "Dockerfile line 3 (RUN false) failed with exit code 1",
        ),
        (
            "RUN kill -9 $$",
            [
                "subprocess exited on killed",
                "subprocess exited with status 1",
                'Error: building at STEP "%s": exit status 1',
            ],
            1,
            "Dockerfile line 3 (RUN kill -9 $$) failed with exit code 137 (it was killed; it may need more memory)",
        ),
        (
            'RUN ["/nope"]',
            [
                "process failed to start with error: fork/exec /nope: no such file or directory"
                "process exited with error: exec: not startedsubprocess exited with status 1",
                'Error: building at STEP "RUN /nope": exit status 1',
            ],
            1,
            'Dockerfile line 3 (RUN ["/nope"]): the program cannot be started: fork/exec /nope: no such file or'
            " directory",
        ),
        (
            "COPY nope /",
            [
                'Error: building at STEP "%s": checking on sources under "/work/src": copier: stat: "/nope":'
                " no such file or directory"
            ],
            125,
            "Dockerfile line 3 (COPY nope /): nope is not in the build context",
        ),
        (
            "COPY n* /",
            [
                'Error: building at STEP "%s": checking on sources under "/work/src": Rel: can\'t make  relative to'
                ' /work/src; copier: stat: ["/n*"]: no such file or directory'
            ],
            125,
            "Dockerfile line 3 (COPY n* /): n* is not in the build context",
        ),
        (
            "COPY a.txt /",
            [
                'Error: building at STEP "%s": no items matching glob "/work/src/a.txt" copied (1 filtered out using'
                " /work/home/ignored): no such file or directory"
            ],
            125,
            "Dockerfile line 3 (COPY a.txt /): a.txt is excluded from the build context by .dockerignore",
        ),
        (
            "COPY --from=a /x /",
            [
                'Error: building at STEP "%s": checking on sources under "/work/storage/overlay/0": copier: stat: "/x":'
                " no such file or directory"
            ],
            125,
            "Dockerfile line 3 (COPY --from=a /x /): x is not in a (--from)",
        ),
        (
            "RUN --mount=type=foo true",
            [
                'Error: building at STEP "%s": resolving mountpoints for container "' + "0f" * 32 + '": invalid mount'
                ' type "foo"'
            ],
            125,
            'Dockerfile line 3 (RUN --mount=type=foo true): invalid mount type "foo"',
        ),
        (
            "RUN true",
            ['Error: building at STEP "%s": determining run uid: user: unknown user error looking up user "nobodyy"'],
            125,
            "Dockerfile line 3 (RUN true): the image has no user nobodyy",
        ),
        (
            "ADD x /",
            ['Error: building at STEP "%s": storing "x": write /work/x: no space left on device'],
            125,
            'Dockerfile line 3 (ADD x /): the disk of the build is full: storing "x"',
        ),
        (
            "ENV x=${y#z}",
            [
                "Error: resolving step {Value:env Next:0xc0002 Children:[] Attributes:map[] Original:ENV x=${y#z}"
                " Flags:[] StartLine:3 EndLine:3}: Missing ':' in substitution: ${y#z}"
            ],
            125,
            "Dockerfile line 3 (ENV x=${y#z}): Missing ':' in substitution: ${y#z}",
        ),
        (
            "RUN echo '\": exit status 9'; exit 3",
            [*["subprocess exited with status 3"] * 2, 'Error: building at STEP "%s": exit status 3'],
            3,
            "Dockerfile line 3 (RUN echo '\": exit status 9'; exit 3) failed with exit code 3",
        ),
    ],
)
def test_buildahs_errors(step: str, lines: list[str], code: int, reason: str) -> None:
    """The reason has the line, the instruction, the exit code and the last output; the log has no noise."""
    shown = [line.replace("%s", step) for line in lines]
    output, log = buildah(f"{TINY}{step}\n", [*START, f"STEP 3/3: {step}", *shown])

    found = output.reason(code, shown)

    assert found.startswith(reason)
    assert log.lines[3:] == [f"STEP 3/3: {step}", *[line for line in shown if line == "oh no"]]


def test_a_go_structure_is_not_shown() -> None:
    """buildah prints one for an unknown instruction, which only an image's ONBUILD can still have."""
    error = (
        'Error: building at STEP "RUNN ": Build error: Unknown instruction: "RUNN" &imagebuilder.Step{Env:[]string'
        '{"A=b"}, Command:"runn", Attrs:map[string]bool(nil)}'
    )
    output, _ = buildah(f"{TINY}USER x\n", [*START, "STEP 3/3: USER x", error])

    assert output.reason(125, [error]) == ('Dockerfile line 3 (USER x): Build error: Unknown instruction: "RUNN"')


def test_noise_that_a_step_printed_is_kept() -> None:
    """Nothing that a user prints is lost."""
    said = ["subprocess exited with status 7", 'Error: building at STEP "x": exit status 9', "more"]
    warning = 'time="2026-11-27T03:52:04Z" level=warning msg="something is wrong"'
    useless = (
        'time="2026-11-27T03:52:04Z" level=warning msg="missing \\"Q\\" build argument. Try adding \\"--build-arg\\""'
    )
    output, log = buildah(f"{TINY}RUN x\n", [useless, warning, *START, "STEP 3/3: RUN x", *said, "COMMIT a"])
    output.flush()

    assert sorted(log.lines) == sorted([warning, *START, "STEP 3/3: RUN x", *said, "COMMIT a"])


def test_noise_of_an_earlier_failure_is_kept() -> None:
    """Only buildah's own last two lines and its error are left out."""
    said = ["subprocess exited with status 7", 'Error: building at STEP "x": exit status 9', "more"]
    own = [*["subprocess exited with status 3"] * 2, 'Error: building at STEP "RUN x": exit status 3']
    output, log = buildah(f"{TINY}RUN x\n", [*START, "STEP 3/3: RUN x", *said, *own])

    assert "failed with exit code 3" in output.reason(3, own)
    assert sorted(log.lines[4:]) == sorted(said)


def test_repeated_steps_are_shown_once() -> None:
    """A build in phases reads like one build."""
    dockerfile = f"{TINY}RUN one\nRUN two\n"
    output, log = buildah(dockerfile, [])
    output.start_phase(Phase("", is_online=True))
    for line in [*START[:2], "--> 1", "STEP 3/3: RUN one", "said", "COMMIT", "--> 2", "ab" * 32]:
        output.line(line)
    output.start_phase(FINAL)
    for line in [*START[:2], "--> Using cache 1", "--> 1", "STEP 3/4: RUN one", "--> Using cache 2", "--> 2"]:
        output.line(line)
    for line in ["STEP 4/4: RUN two", "COMMIT a", "--> 3"]:
        output.line(line)

    assert log.lines == [
        "STEP 1/4: FROM scratch",
        "STEP 2/4: ADD rootfs.tar /",
        "--> 1",
        "STEP 3/4: RUN one",
        "said",
        "--> 2",
        "STEP 4/4: RUN two",
        "COMMIT a",
        "--> 3",
    ]


@pytest.mark.parametrize(("line", "leaked"), [("--> Using cache 1", False), ("said something", True)])
def test_a_step_without_network_never_runs_with_one(line: str, leaked: bool) -> None:
    """In a phase with network it must come from the cache."""
    output, _ = buildah(f"{TINY}RUN x\n", [*START, "STEP 3/3: RUN x", line], offline=[2])

    assert (output.leaked is not None) is leaked


def test_secrets_are_masked_before_the_output_is_shortened() -> None:
    """Half a secret would not be recognized later."""
    line = "x" * 90 + SECRET + "y" * 300
    own = [*["subprocess exited with status 3"] * 2, 'Error: building at STEP "RUN x": exit status 3']
    output, _ = buildah(f"{TINY}RUN x\n", [*START, "STEP 3/3: RUN x", line, *own])

    reason = output.reason(3, own)

    assert "xxx***yyy" in reason
    assert len(reason) < 400


def test_limits_name_the_step() -> None:
    """Also when a signal ends the build."""
    output, _ = buildah(f"{TINY}RUN x\n", [*START, "STEP 3/3: RUN x"])
    place = "at Dockerfile line 3 (RUN x)"

    with pytest.raises(LimitReached, match="it filled its disk, at Dockerfile line 3"), output.naming_limits():
        raise LimitReached("it filled its disk")
    with pytest.raises(Interrupted) as caught, output.naming_limits():
        raise Interrupted(LimitReached("it took too long"))
    with pytest.raises(Interrupted) as stopped, output.naming_limits():
        raise Interrupted(BuildStopped())

    assert str(caught.value.reason) == f"it took too long, {place}"
    assert isinstance(stopped.value.reason, BuildStopped)


def read(output: BuilderOutput, lines: Iterable[str]) -> None:
    """Pass lines on to the output."""
    for line in lines:
        output.line(line)


@pytest.mark.parametrize(
    ("dockerfile", "lines", "reason"),
    [
        (
            f"{TINY}RUN echo oh && exit 7\n",
            [
                "Step 3/3 : RUN echo oh && exit 7",
                " ---> Running in 0123456789ab",
                "oh",
                "The command '/bin/sh -c echo oh && exit 7' returned a non-zero code: 7",
            ],
            "Dockerfile line 3 (RUN echo oh && exit 7) failed with exit code 7; its last output: oh",
        ),
        (
            f"ARG A\n{TINY}COPY nope /\n",
            [
                "Step 4/4 : COPY nope /",
                "COPY failed: file not found in build context or excluded by .dockerignore: stat nope: file does not"
                " exist",
            ],
            "Dockerfile line 4 (COPY nope /): nope is not in the build context, or .dockerignore excludes it",
        ),
        (
            TINY,
            ["Error response from daemon: dockerfile parse error on line 3: unknown flag: foo"],
            "Dockerfile line 3: unknown flag: foo",
        ),
    ],
)
def test_dockers_errors(dockerfile: str, lines: list[str], reason: str) -> None:
    """In the same form."""
    log = Log()
    output = DockerOutput(parse(dockerfile), log.progress)
    read(output, ["DEPRECATED: The legacy builder is deprecated and will be removed in a future release.", *lines])

    assert output.reason(1, lines) == reason
    assert not any("DEPRECATED" in line or "Running in" in line for line in log.lines)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (
            [
                "#5 [2/2] RUN echo oh && exit 3",
                "#5 0.100 oh",
                "------",
                " > [2/2] RUN echo oh && exit 3:",
                "------",
                "Dockerfile:3",
                "--------------------",
                "   3 | >>> RUN echo oh && exit 3",
                "--------------------",
                'error: failed to solve: process "/bin/sh -c echo oh && exit 3" did not complete successfully: exit'
                " code: 3",
            ],
            "Dockerfile line 3 (RUN echo oh && exit 3) failed with exit code 3; its last output: oh",
        ),
        (
            [
                "Dockerfile:4",
                "--------------------",
                "error: failed to solve: failed to compute cache key: failed to calculate checksum of ref a::b:"
                ' "/nope": not found',
            ],
            "Dockerfile line 4 (COPY --form=a nope /): nope is not in the build context, or .dockerignore excludes it",
        ),
        (
            ["error: failed to solve: dockerfile parse error on line 4: unknown flag: --form"],
            "Dockerfile line 4: unknown flag --form for COPY (did you mean --from?)",
        ),
        (["error: failed to solve: something else"], "the build of the Dockerfile failed: something else"),
        (["nothing"], "the build of the Dockerfile exited with 1: see the log"),
    ],
)
def test_buildkits_errors(lines: list[str], reason: str) -> None:
    """In the same form."""
    output = BuildKitOutput(parse(f"{TINY}RUN echo oh && exit 3\nCOPY --form=a nope /\n"), Log().progress)
    read(output, lines)

    assert output.reason(1, lines) == reason
