"""Dockerfile instructions on a configuration, as ``commit --change`` takes them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hythe.oci.config import ContainerConfig, HealthCheck, ImageConfig, merge_environment
from hythe.oci.dockerfile_lexer import expand, split_words
from hythe.oci.errors import InvalidManifest
from hythe.oci.instruction import InvalidInstruction, apply_instructions

ENV = ("PATH=/bin", "HOME_OF=/srv")
BASE = ContainerConfig(env=ENV, cmd=("old",), working_dir="/srv", labels={"a": "1"}, exposed_ports={"80/tcp": {}})
PORTS: dict[str, dict[str, str]] = {"80/tcp": {}, "443/udp": {}, "8000/tcp": {}, "8001/tcp": {}}
SECOND = 10**9


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("CMD echo $PATH", {"cmd": ("/bin/sh", "-c", "echo $PATH")}),
        ('cmd ["echo", "a b"]', {"cmd": ("echo", "a b")}),
        ('CMD ["not json]', {"cmd": ("/bin/sh", "-c", '["not json]')}),
        ("ENTRYPOINT top -b", {"entrypoint": ("/bin/sh", "-c", "top -b"), "cmd": None}),
        ('ENTRYPOINT ["top"]', {"entrypoint": ("top",), "cmd": None}),
        ("ENTRYPOINT []", {"entrypoint": None}),
        ("ENV A=1 B='two words' C=\"x $PATH\"", {"env": (*ENV, "A=1", "B=two words", "C=x /bin")}),
        ("ENV A some words", {"env": (*ENV, "A=some words")}),
        ("ENV PATH=$PATH:/sbin", {"env": ("PATH=/bin:/sbin", "HOME_OF=/srv")}),
        ("EXPOSE 80 443/UDP 8000-8001", {"exposed_ports": PORTS}),
        ("LABEL b=2 'c d'=\"3 4\"", {"labels": {"a": "1", "b": "2", "c d": "3 4"}}),
        ("LABEL a=new", {"labels": {"a": "new"}}),
        ("HEALTHCHECK NONE", {"healthcheck": HealthCheck(test=("NONE",))}),
        ("HEALTHCHECK CMD curl -f x", {"healthcheck": HealthCheck(test=("CMD-SHELL", "curl -f x"))}),
        (
            'HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=1h --retries=3 CMD ["curl", "x"]',
            {"healthcheck": HealthCheck(("CMD", "curl", "x"), 90 * SECOND, SECOND // 2, 3600 * SECOND, 3)},
        ),
        (
            "HEALTHCHECK --start-interval=2s --interval=0s CMD x",
            {"healthcheck": HealthCheck(("CMD-SHELL", "x"), start_interval=2 * SECOND)},
        ),
        ("# why\nUSER app\n\nENV A=1 \\\n  B=2\n", {"user": "app", "env": (*ENV, "A=1", "B=2")}),
        ("ONBUILD RUN make", {"on_build": ("RUN make",)}),
        ("STOPSIGNAL SIGKILL", {"stop_signal": "SIGKILL"}),
        ("USER app:1000", {"user": "app:1000"}),
        ("VOLUME /data $HOME_OF/x", {"volumes": {"/data": {}, "/srv/x": {}}}),
        ('VOLUME ["/a b"]', {"volumes": {"/a b": {}}}),
        ("WORKDIR /opt", {"working_dir": "/opt"}),
        ("WORKDIR sub/../deep", {"working_dir": "/srv/deep"}),
        ("WORKDIR ${HOME_OF}/a b", {"working_dir": "/srv/a b"}),
    ],
)
def test_instructions(line: str, changed: dict[str, Any]) -> None:
    """Each changes what it is about and nothing else."""
    assert msgspec.structs.replace(BASE, **changed) == apply_instructions(BASE, [line])


def test_a_command_that_was_set_stays_under_a_new_entrypoint() -> None:
    """ENTRYPOINT takes away the old command only."""
    config = apply_instructions(BASE, ['CMD ["x"]', 'ENTRYPOINT ["y"]'])

    assert (config.entrypoint, config.cmd) == (("y",), ("x",))


def test_the_shell_of_the_image_is_used() -> None:
    """SHELL of the image stands in front of the shell form."""
    config = apply_instructions(ContainerConfig(shell=("/bin/bash", "-ec")), ["CMD true"])

    assert config.cmd == ("/bin/bash", "-ec", "true")


@pytest.mark.parametrize(
    "line",
    [
        *("", "RUN true", "FROM x", "CMD", "ENV A", "ENV A=1 B", "ENV =1", "LABEL x", "EXPOSE x", "EXPOSE 0"),
        *("EXPOSE 2-1", "EXPOSE 1/icmp", "HEALTHCHECK", "HEALTHCHECK CMD", "HEALTHCHECK NONE x", "WORKDIR"),
        *("HEALTHCHECK --interval=x CMD y", "HEALTHCHECK --what=1 CMD y", "HEALTHCHECK --retries=x CMD y"),
        *("HEALTHCHECK --retries=0 CMD y", "HEALTHCHECK --interval=1us CMD y", "HEALTHCHECK CMD []", "# only", "\n"),
        *("ONBUILD FROM x", "ONBUILD ONBUILD RUN y", "STOPSIGNAL a b", "USER a b", "VOLUME []", 'VOLUME [""]', "☃"),
    ],
)
def test_what_docker_refuses_is_refused(line: str) -> None:
    """With a message for people."""
    with pytest.raises(InvalidInstruction):
        apply_instructions(BASE, [line])


@given(
    st.sampled_from(["CMD", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "USER", "VOLUME", "WORKDIR"]), st.text()
)
def test_any_argument_is_taken_or_refused(name: str, argument: str) -> None:
    """Nothing but InvalidInstruction is raised, and the rest of the configuration stays."""
    try:
        config = apply_instructions(BASE, [f"{name} {argument}"])
    except InvalidInstruction:
        return
    assert config.entrypoint == BASE.entrypoint


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("$A", "one"),
        ("${A}x", "onex"),
        ("$MISSING", ""),
        ("${MISSING:-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY-other}", ""),
        ("${A:+other}", "other"),
        ("${MISSING:+other}", ""),
        ("${MISSING:-$A}", "one"),
        (r"\$A", "$A"),
        ("'$A'", "$A"),
        ('"$A b"', "one b"),
        (r'"\$A \" \n"', r'$A " \n'),
        ("a'b'\"c\"", "abc"),
        ("100$", "100$"),
    ],
)
def test_variables_in_words(word: str, expected: str) -> None:
    """As in a Dockerfile: quotes, backslashes, defaults."""
    assert expected == expand(word, {"A": "one", "EMPTY": ""})


@pytest.mark.parametrize(
    ("text", "words"),
    [("a b  c", ["a", "b", "c"]), ("a='b c' d", ["a='b c'", "d"]), (r"a\ b", [r"a\ b"]), ("", [])],
)
def test_splitting_words(text: str, words: list[str]) -> None:
    """Quotes and backslashes keep words together."""
    assert words == split_words(text)


@given(st.text(st.characters(exclude_characters="\\'\"$"), max_size=30))
def test_plain_words_stay(text: str) -> None:
    """Without quotes, backslashes and variables nothing changes."""
    assert expand(text, {}) == text


def test_environments_are_merged_by_name() -> None:
    """A name keeps its place and takes the new value; values may hold equals signs."""
    assert merge_environment(("A=1", "B=2"), ("B=x=y", "C=3", "A=4")) == ("A=4", "B=x=y", "C=3")
    assert merge_environment(None, ()) == ()


def test_configurations_are_written_as_docker_reads_them() -> None:
    """Names as on the wire; what is empty is left out; broken ones are refused."""
    config = ImageConfig(architecture="amd64", os="linux", config=ContainerConfig(cmd=("a",), working_dir="/x"))

    assert b'"config":{"Cmd":["a"],"WorkingDir":"/x"}' in config.encode()
    assert ImageConfig.parse(config.encode()) == config
    with pytest.raises(InvalidManifest):
        ImageConfig.parse(b'{"config": []}')
