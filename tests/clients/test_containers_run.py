"""Running containers with a real OCI runtime as root: run, ps, logs, stop and rm work like docker's."""

import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.parts.docker_registry import DockerRegistry
from tests.parts.engines import ContainersTool
from tests.parts.hythe_containers import ContainersHythe

pytestmark = pytest.mark.clients


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def state_of(hythe: ContainersHythe, name: str) -> str:
    return hythe.ok("ps", "-a", "--filter", f"name={name}", "--format", "{{.State}}")


def test_output_and_exit_code_are_the_containers(hythe_box: ContainersHythe) -> None:
    """stdout, stderr and exit code are passed through; --rm leaves nothing."""
    done = hythe_box.run("run", "--rm", "box", "sh", "-c", "echo out; echo err >&2; exit 7")

    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)
    assert hythe_box.ok("ps", "-aq") == ""


@pytest.mark.parametrize(
    ("words", "code"), [(("nowhere",), 127), (("/etc/first",), 126), (("sh", "-c", "exit 3"), 3), ((), 0)]
)
def test_exit_codes_are_dockers(hythe_box: ContainersHythe, words: tuple[str, ...], code: int) -> None:
    """127 for not found, 126 for not executable, else the program's own."""
    assert hythe_box.run("run", "--rm", "box", *words).returncode == code


def test_our_own_failures_are_125(hythe_box: ContainersHythe) -> None:
    """A container that cannot be created exits with 125 and a reason."""
    done = hythe_box.run("run", "--rm", "-u", "nobody-knows", "box", "true")

    assert done.returncode == 125
    assert "unable to find user nobody-knows" in done.stderr
    assert "hint:" in done.stderr


def test_the_environment_is_dockers_the_images_and_the_users(hythe_box: ContainersHythe, tmp_path: Path) -> None:
    """Variables of flags override those of files, the image's, and docker's defaults."""
    (tmp_path / "env").write_text("# comment\nFILE=file words\nBOTH=file\nCOPIED\n")
    hythe_box.env["COPIED"] = "from here"
    flags = ("--env-file", str(tmp_path / "env"), "-e", "BOTH=flag", "--hostname", "named")
    variables = dict(line.split("=", 1) for line in hythe_box.ok("run", "--rm", *flags, "box", "env").splitlines())

    assert {key: variables.get(key) for key in ("FROM", "FILE", "BOTH", "COPIED", "HOSTNAME", "HOME", "PATH")} == {
        "FROM": "image",
        "FILE": "file words",
        "BOTH": "flag",
        "COPIED": "from here",
        "HOSTNAME": "named",
        "HOME": "/root",
        "PATH": "/bin",
    }


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("nobody", "uid=65534(nobody) gid=65534(nogroup)"),
        ("12:34", "uid=12 gid=34"),
        ("nobody:root", "uid=65534(nobody) gid=0(root)"),
        ("", "uid=0(root) gid=0(root)"),
    ],
)
def test_users_are_resolved_by_the_image(hythe_box: ContainersHythe, user: str, expected: str) -> None:
    """Names come from the image's own files; IDs need no entry."""
    assert hythe_box.ok("run", "--rm", "-u", user, "box", "id").startswith(expected)


def test_users_reach_the_files_whatever_the_umask(hythe_box: ContainersHythe) -> None:
    """Users of the container can read its root, even with a restrictive umask of hythe's user."""
    strict = replace(hythe_box, command=["sh", "-c", 'umask 077; exec "$@"', "sh", *hythe_box.command])

    assert strict.ok("run", "--rm", "-u", "nobody", "box", "cat", "/etc/first") == "1"
    assert strict.ok("run", "--rm", "-u", "nobody", "-v", "/srv/new", "box", "ls", "/srv/new") == ""


def test_entrypoint_and_working_folder(hythe_box: ContainersHythe) -> None:
    """--entrypoint replaces the image's entrypoint and command; -w creates a missing folder."""
    assert hythe_box.ok("run", "--rm", "--entrypoint", "echo", "-w", "/not/there", "box", "a", "--rm") == "a --rm"
    assert hythe_box.ok("run", "--rm", "-w", "/not/there", "box", "pwd") == "/not/there"


def test_input_and_output_are_complete(hythe_box: ContainersHythe) -> None:
    """-i passes standard input to its end; large outputs arrive completely."""
    text = "".join(f"line {number}\n" for number in range(50_000))

    assert hythe_box.run("run", "--rm", "-i", "box", "cat", stdin=text).stdout == text
    assert hythe_box.run("run", "--rm", "box", "cat", stdin=text).stdout == ""


def test_a_terminal(hythe_box: ContainersHythe) -> None:
    """-it provides a terminal; Ctrl-C is sent to the container."""
    process, terminal = pty.fork()
    if process == 0:
        command = [*hythe_box.command, "run", "-it", "--rm", "box"]
        os.execvpe(command[0], command, hythe_box.env)
    said = b""

    def says(text: bytes) -> Callable[[], bool]:
        def check() -> bool:
            nonlocal said
            said += os.read(terminal, 4096)
            return text in said

        return check

    wait_until(says(b"#"))
    os.write(terminal, b"trap 'echo caught-$TERM' INT; test -t 1 && echo is-a-$((1+0))-tty\n")
    wait_until(says(b"is-a-1-tty"))
    os.write(terminal, b"\x03")
    wait_until(says(b"caught-xterm"))
    os.write(terminal, b"exit 4\n")

    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 4


def test_detached_containers(hythe_box: ContainersHythe) -> None:
    """-d prints the ID; ps lists it, logs has both streams, stop sends the signal, start runs it again."""
    script = "echo out; echo err >&2; trap 'echo stopped; exit 3' TERM; while :; do sleep 0.1; done"
    container = hythe_box.ok("run", "-d", "--name", "web", "box", "sh", "-c", script)

    assert re.fullmatch("[0-9a-f]{64}", container)
    wait_until(lambda: "err" in hythe_box.run("logs", "web").stderr)
    assert hythe_box.run("logs", "web").stdout == "out\n"
    assert (
        hythe_box.ok("ps", "--format", "{{.ID}} {{.Names}} {{.Image}} {{.State}}")
        == f"{container[:12]} web box running"
    )
    assert hythe_box.ok("stop", "web") == "web"
    assert "Exited (3)" in hythe_box.ok("ps", "-a")
    assert hythe_box.ok("logs", "--tail", "1", "web") == "stopped"
    assert hythe_box.ok("start", "web") == "web"
    wait_until(lambda: state_of(hythe_box, "web") == "running")
    assert hythe_box.run("rm", "web").returncode == 7
    assert hythe_box.ok("rm", "-f", container[:10]) == container[:10]


def test_logs_follow_until_the_end(hythe_box: ContainersHythe) -> None:
    """logs -f shows new output and ends with the container."""
    hythe_box.ok("run", "-d", "--name", "talker", "box", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.3; done")

    assert hythe_box.ok("logs", "-f", "talker") == "1\n2\n3"


def test_signals_are_forwarded(hythe_box: ContainersHythe) -> None:
    """Signals sent to hythe reach the container's first process."""
    script = "trap 'exit 42' TERM; echo ready; while :; do sleep 0.1; done"
    command = [*hythe_box.command, "run", "--rm", "box", "sh", "-c", script]
    with subprocess.Popen(command, env=hythe_box.env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()

        assert process.wait(20) == 42


def test_a_container_that_ignores_its_stop_signal_is_killed(hythe_box: ContainersHythe) -> None:
    """stop waits for the given time, then kills."""
    hythe_box.ok("run", "-d", "--name", "stubborn", "box", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
    hythe_box.ok("stop", "-t", "0.3", "stubborn")

    assert "Exited (137)" in hythe_box.ok("ps", "-a")


def test_names_are_unique(hythe_box: ContainersHythe) -> None:
    """A second container cannot have the same name; without --name each gets a random one."""
    hythe_box.ok("create", "--name", "one", "box")
    done = hythe_box.run("create", "--name", "one", "box")

    assert done.returncode == 7
    assert "is already in use by container" in done.stderr
    names = {hythe_box.ok("create", "box") for _ in range(3)}
    assert len(names) == 3
    assert hythe_box.ok("ps", "-a", "--format", "{{.Status}}").splitlines() == ["Created"] * 4


def test_volumes_and_read_only(hythe_box: ContainersHythe, tmp_path: Path) -> None:
    """-v mounts a folder or a named volume, which is filled from the image once; --read-only protects the rest."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "page").write_text("hello\n")
    flags = ("--rm", "--read-only", "-v", f"{tmp_path}/site:/site:ro", "-v", "kept:/data", "--tmpfs", "/scratch")
    script = "cat /site/page /data/seed; echo x > /scratch/x; echo more > /data/more; touch /etc/x; touch /site/x"
    done = hythe_box.run("run", *flags, "box", "sh", "-c", script)

    assert done.stdout == "hello\nseed\n"
    assert done.stderr.count("Read-only file system") == 2
    assert hythe_box.ok("run", "--rm", "-v", "kept:/elsewhere", "box", "cat", "/elsewhere/more") == "more"


@pytest.mark.parametrize("flags", [("-v", "bare:/data:nocopy"), ("--mount", "source=bare,target=/data,volume-nocopy")])
def test_volumes_that_are_not_filled(hythe_box: ContainersHythe, flags: tuple[str, str]) -> None:
    """With nocopy a volume starts empty; without it, it is filled at the next start."""
    assert hythe_box.ok("run", "--rm", *flags, "box", "ls", "/data") == ""
    assert hythe_box.ok("run", "--rm", "-v", "bare:/data", "box", "cat", "/data/seed") == "seed"


def test_isolation_is_dockers_default(hythe_box: ContainersHythe) -> None:
    """Own processes, docker's capabilities without NET_RAW, a system call filter; flags restrict them further."""
    usual = hythe_box.ok("run", "--rm", "box", "cat", "/proc/self/status")
    flags = ("--cap-drop", "all", "--cap-add", "chown", "--network", "none")
    narrow = hythe_box.ok("run", "--rm", *flags, "box", "cat", "/proc/self/status")

    assert "CapEff:\t00000000a80405fb" in usual
    assert "Seccomp:\t2" in usual
    assert "CapEff:\t0000000000000001" in narrow
    assert hythe_box.ok("run", "--rm", "--network", "none", "box", "ls", "/sys/class/net") == "lo"
    assert hythe_box.ok("run", "--rm", "box", "sh", "-c", "echo $$") == "1"


def test_limits(hythe_box: ContainersHythe) -> None:
    """The kernel enforces --memory by killing the process."""
    hog = "x=aaaaaaaaaaaaaaaa; while test ${#x} -lt 90000000; do x=$x$x; done; echo survived"

    assert hythe_box.run("run", "--rm", "box", "sh", "-c", hog).stdout == "survived\n"
    assert hythe_box.run("run", "--rm", "-m", "20m", "box", "sh", "-c", hog).returncode == 137


def test_common_docker_flags(hythe_box: ContainersHythe, tmp_path: Path) -> None:
    """Each flag works like docker's."""
    (tmp_path / "file").write_text("mounted\n")
    (tmp_path / "labels").write_text("# comment\nfrom=file\n")
    mounts = ("--mount", f"type=bind,src={tmp_path},dst=/m,ro", "--shm-size", "1m", "--device", "/dev/null:/dev/gone")
    process = ("--ulimit", "nofile=100:200", "--group-add", "77", "--security-opt", "no-new-privileges")
    names = ("-h", "named", "--add-host", "there:192.0.2.1", "--dns", "192.0.2.2")
    ours = ("--cidfile", tmp_path / "id", "--label-file", tmp_path / "labels", "--expose", "80", "--stop-timeout", "3")
    script = """cat /m/file; ulimit -n; ulimit -Hn; echo $HOSTNAME; cat /etc/resolv.conf
test -c /dev/gone && echo device; grep there /etc/hosts
grep Groups /proc/self/status; grep NoNewPrivs /proc/self/status; grep /dev/shm /proc/mounts"""
    flags = (*mounts, *process, *names, *ours, "--rm=false", "--tty=false", "--name", "all")
    said = hythe_box.ok("run", *flags, "box", "sh", "-c", script).split()

    assert said[:8] == ["mounted", "100", "200", "named", "nameserver", "192.0.2.2", "device", "192.0.2.1"]
    assert said[8:14] == ["there", "Groups:", "0", "77", "NoNewPrivs:", "1"]
    assert "size=1024k" in said[17]
    form = "{{.Id}} {{.Config.StopTimeout}} {{.Config.Labels.from}} {{json .Config.ExposedPorts}}"
    identity = (tmp_path / "id").read_text()
    assert hythe_box.ok("inspect", "-f", form, "all") == f'{identity} 3 file {{"80/tcp":{{}}}}'


def test_attaching_some_streams(hythe_box: ContainersHythe) -> None:
    """-a attaches the given streams; the log has all of them."""
    done = hythe_box.run("run", "--name", "one", "-a", "stdout", "box", "sh", "-c", "echo out; echo err >&2")

    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "", 0)
    assert hythe_box.run("logs", "one").stderr == "err\n"
    assert hythe_box.run("run", "-d", "-a", "stdout", "box", "true").returncode == 125


def test_privileged_containers(hythe_box: ContainersHythe) -> None:
    """They have all capabilities of hythe itself."""
    script = "mount -t tmpfs none /tmp && echo mounted; grep Seccomp: /proc/self/status"

    assert hythe_box.ok("run", "--rm", "--privileged", "box", "sh", "-c", script).split() == [
        "mounted",
        "Seccomp:",
        "0",
    ]


def test_an_init_reaps_orphans(hythe_box: ContainersHythe) -> None:
    """--init runs one before the program, keeps the program's exit code, and leaves no trace."""
    done = hythe_box.run("run", "--init", "--name", "one", "box", "sh", "-c", "cat /proc/1/cmdline; exit 5")

    assert (done.stdout.split("\0")[:3], done.returncode) == (["/dev/init", "--", "sh"], 5)
    assert hythe_box.ok("diff", "one") == ""


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--foo",), "unrecognized arguments: --foo"),
        (("--network", "mine"), "network 'mine' is not supported"),
        (("--restart", "always"), "restart policies need a daemon"),
        (("--security-opt", "seccomp=mine.json"), "unknown security option"),
        (("-v", "a/b:/x"), "invalid volume name"),
        (("--env-file", "/nowhere"), "/nowhere: No such file or directory"),
        (("--memory-swap", "1g"), "needs --memory"),
    ],
)
def test_flags_that_are_refused(hythe_box: ContainersHythe, flags: tuple[str, ...], message: str) -> None:
    """Unsupported flags exit with docker's code, 125, and a reason."""
    done = hythe_box.run("run", "--rm", *flags, "box", "true")

    assert done.returncode == 125
    assert message in done.stderr


def test_a_missing_image_is_pulled(
    hythe_box: ContainersHythe, docker_registry: DockerRegistry, skopeo: ContainersTool
) -> None:
    """A missing image is pulled with a message, except with --pull never."""
    name = f"{docker_registry.host}/ada/web:1"
    source = f"oci:{hythe_box.folder}/store:docker.io/library/box:latest"
    skopeo.ok("copy", "--dest-tls-verify=false", source, f"docker://{name}")
    refused = hythe_box.run("run", "--rm", "--pull", "never", name, "true")
    done = hythe_box.run("run", "--rm", name, "cat", "/etc/first")

    assert refused.returncode == 125
    assert (done.stdout, done.returncode) == ("1\n", 0)
    assert f"Unable to find image '{name}' locally" in done.stderr


def test_an_image_of_another_platform_is_refused(hythe_box: ContainersHythe) -> None:
    """--platform is not ignored for an image with a single platform."""
    done = hythe_box.run("run", "--rm", "--pull", "never", "--platform", "linux/s390x", "box", "true")

    assert done.returncode == 125
    assert "box is for linux/amd64, not for linux/s390x" in done.stderr
    assert hythe_box.run("run", "--rm", "--platform", "linux/amd64", "box", "true").returncode == 0


def test_an_image_in_use_is_kept(hythe_box: ContainersHythe) -> None:
    """A container's image can be committed from even after its name moved to another image."""
    hythe_box.ok("run", "--name", "one", "box", "sh", "-c", "echo 1 > /one")
    hythe_box.ok("commit", "one", "box:latest")
    hythe_box.store.collect_garbage()
    hythe_box.ok("commit", "one", "again:1")

    assert hythe_box.ok("run", "--rm", "again:1", "cat", "/one", "/etc/first") == "1\n1"


def test_nothing_is_left_behind(hythe_box: ContainersHythe) -> None:
    """Removed containers leave no folder, name, mount or pin; layers are kept while an image has them."""
    hythe_box.ok("run", "-d", "--name", "web", "box", "sleep", "100")
    hythe_box.ok("rm", "-f", "web")
    state = hythe_box.folder / "state"

    for folder in ("containers", "names", "removed", "runtime"):
        assert list((state / folder).iterdir()) == []
    assert hythe_box.store.pins() == {}
    assert str(hythe_box.folder) not in Path("/proc/self/mounts").read_text()
    assert len([path for path in (state / "layers/sha256").iterdir() if path.is_dir()]) == 2


def test_unpacked_layers_go_with_their_image(hythe_box: ContainersHythe) -> None:
    """Removing the last image that has a layer removes the unpacked layer; a container's layers stay."""
    layers = hythe_box.folder / "state/layers/sha256"

    def unpacked() -> int:
        return len([path for path in layers.iterdir() if path.is_dir()])

    hythe_box.ok("run", "--name", "one", "box", "sh", "-c", "echo 1 > /one")
    hythe_box.ok("commit", "one", "second:1")
    hythe_box.ok("rm", "one")
    hythe_box.ok("run", "--name", "two", "second:1", "true")
    assert unpacked() == 3
    hythe_box.ok("rm", "two")
    hythe_box.ok("rmi", "second:1")
    assert unpacked() == 2

    hythe_box.ok("run", "--name", "three", "box", "true")
    assert hythe_box.run("rmi", "box").returncode == 7
    assert unpacked() == 2
    hythe_box.ok("rm", "three")
    hythe_box.ok("rmi", "box")
    assert unpacked() == 0


def test_a_killed_supervisor(hythe_box: ContainersHythe) -> None:
    """If hythe is killed, the container can still be listed, stopped and removed, with its mounts."""
    command = [*hythe_box.command, "run", "--name", "orphan", "box", "sleep", "300"]
    with subprocess.Popen(command, env=hythe_box.env, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: state_of(hythe_box, "orphan") == "running")
        process.kill()
    assert state_of(hythe_box, "orphan") == "running"
    hythe_box.ok("stop", "-t", "0", "orphan")

    assert state_of(hythe_box, "orphan") == "exited"
    hythe_box.ok("start", "orphan")
    assert state_of(hythe_box, "orphan") == "running"
    hythe_box.ok("rm", "-f", "orphan")
    assert list((hythe_box.folder / "state/runtime").iterdir()) == []


def test_rm_cleans_up_after_a_killed_supervisor(hythe_box: ContainersHythe) -> None:
    """The runtime's state and cgroups are also removed by `rm` without -f."""
    command = [*hythe_box.command, "run", "--name", "orphan", "box", "sleep", "300"]
    with subprocess.Popen(command, env=hythe_box.env, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: state_of(hythe_box, "orphan") == "running")
        process.kill()
    container = hythe_box.ok("ps", "-q", "--no-trunc")
    hythe_box.ok("stop", "-t", "0", "orphan")
    hythe_box.ok("rm", "orphan")

    assert list((hythe_box.folder / "state/runtime").iterdir()) == []
    assert list(Path("/sys/fs/cgroup").glob(f"**/hythe/{container}")) == []


def test_several_containers_at_once(hythe_box: ContainersHythe) -> None:
    """A failure is reported, and the others continue; starting a running one is not an error."""
    for name in ("one", "two"):
        hythe_box.ok("create", "--name", name, "box", "sleep", "100")
    started = hythe_box.run("start", "one", "nobody", "two", "one")
    refused = hythe_box.run("rm", "one", "nobody")
    stopped = hythe_box.run("stop", "-t", "0", "nobody", "one")
    removed = hythe_box.run("rm", "nobody", "two", "one")

    assert (started.stdout, started.returncode) == ("one\ntwo\none\n", 3)
    assert (refused.stdout, refused.returncode) == ("", 3)
    assert "is running" in refused.stderr
    assert (stopped.stdout, stopped.returncode) == ("one\n", 3)
    assert (removed.stdout, removed.returncode) == ("one\n", 3)
    assert state_of(hythe_box, "two") == "running"


def test_a_container_that_cannot_start_is_removed(hythe_box: ContainersHythe) -> None:
    """--rm also applies to detached containers."""
    assert hythe_box.run("run", "-d", "--rm", "box", "nowhere").returncode == 127
    assert hythe_box.ok("ps", "-aq") == ""


def test_the_primary_group_is_also_supplementary(hythe_box: ContainersHythe) -> None:
    """As in docker since CVE-2022-36109: a program that changes its group must not lose the primary one."""
    script = "grep Groups /proc/self/status"

    assert hythe_box.ok("run", "--rm", "-u", "12:34", "box", "sh", "-c", script).split() == ["Groups:", "34"]


def test_many_at_once(hythe_box: ContainersHythe) -> None:
    """Containers started at the same time share the unpacked layers without conflicts."""
    command = [*hythe_box.command, "run", "--rm", "box", "cat", "/etc/first", "/etc/second"]
    running = [subprocess.Popen(command, env=hythe_box.env, stdout=subprocess.PIPE, text=True) for _ in range(6)]

    assert [process.communicate()[0] for process in running] == ["1\n2\n"] * 6
    assert list((hythe_box.folder / "state/layers/incoming").iterdir()) == []


def test_ps_filters(hythe_box: ContainersHythe) -> None:
    """Names are regular expressions, all labels must match, and times refer to other containers."""
    for number, name in enumerate(("old_web", "web", "web_new")):
        hythe_box.ok("create", "--name", name, "-l", f"n={number}", "-l", "all", "-v", f"v{number}:/v", "box")

    def named(*filters: str) -> list[str]:
        flags = [word for text in filters for word in ("--filter", text)]
        return hythe_box.ok("ps", "-a", *flags, "--format", "{{.Names}}").split()

    assert named("name=web") == ["web_new", "web", "old_web"]
    assert named("name=^/web$") == named("name=^web$") == ["web"]
    assert named("label=all", "label=n=1") == ["web"]
    assert (named("before=web"), named("since=web")) == (["old_web"], ["web_new"])
    assert named("volume=v1") == ["web"]
    assert named("network=none") == []
    for wrong in ("status=odd", "exited=x", "name=(", "since=nobody", "color=red"):
        assert hythe_box.run("ps", "--filter", wrong).returncode in (2, 3)


def test_ps_shows_sizes(hythe_box: ContainersHythe) -> None:
    """-s adds the size of the container's changes, and the total with its image."""
    hythe_box.ok("run", "--name", "one", "box", "sh", "-c", "printf 12345 > /five; /bin/busybox ln /five /again")
    [heading, row] = hythe_box.ok("ps", "-a", "-s").splitlines()

    assert heading.endswith("NAMES     SIZE")
    assert re.search(r"one +5B \(virtual [12][.\d]*MB\)$", row)
    assert hythe_box.ok("ps", "-a", "--format", "{{.Size}}").startswith("5B (virtual")


def test_volumes_of_another_container(hythe_box: ContainersHythe, tmp_path: Path) -> None:
    """--volumes-from mounts all of them, optionally read-only, except at targets with another mount."""
    (tmp_path / "file").touch()
    flags = ("-v", "/own", "-v", "kept:/kept", "-v", f"{tmp_path}:/bound:ro", "--tmpfs", "/memory")
    hythe_box.ok("run", "--name", "data", *flags, "box", "sh", "-c", "touch /own/a /kept/b")
    script = "ls -d /own/a /kept/b /bound/* /memory; touch /own/x"

    done = hythe_box.run("run", "--rm", "--volumes-from", "data:ro", "box", "sh", "-c", script)
    assert done.stdout.split() == ["/bound/file", "/kept/b", "/own/a"]
    assert "Read-only" in done.stderr
    flags = ("--volumes-from", "data", "--tmpfs", "/kept")
    assert hythe_box.ok("run", "--rm", *flags, "box", "sh", "-c", "touch /own/x; ls /kept") == ""


def test_logs_between_two_times(hythe_box: ContainersHythe) -> None:
    """--since and --until."""
    hythe_box.ok("run", "--name", "one", "box", "sh", "-c", "echo first; sleep 0.2; echo second")
    first, second = (line.split()[0] for line in hythe_box.ok("logs", "-t", "one").splitlines())

    assert hythe_box.ok("logs", "--until", first, "one") == "first"
    assert hythe_box.ok("logs", "--since", second, "one") == "second"
    assert hythe_box.ok("logs", "--since", "1h", "--until", "1h", "one") == ""


def test_interrupting_logs_prints_nothing(hythe_box: ContainersHythe) -> None:
    """Ctrl-C ends -f without output."""
    hythe_box.ok("run", "-d", "--name", "one", "box", "sh", "-c", "echo ready; sleep 100")
    command = [*hythe_box.command, "logs", "-f", "one"]
    with subprocess.Popen(command, env=hythe_box.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)

        assert (process.wait(20), process.communicate()[1]) == (130, b"")


def test_json(hythe_box: ContainersHythe) -> None:
    """ps --json contains all data of every container."""
    hythe_box.run("run", "--name", "done", "-l", "a=b", "box", "sh", "-c", "exit 3")
    [container] = json.loads(hythe_box.ok("ps", "-a", "--json"))

    assert (container["name"], container["status"]["exit_code"]) == ("done", 3)
    assert container["config"]["Labels"] == {"from": "image", "a": "b"}


def test_inspect(hythe_box: ContainersHythe) -> None:
    """A container has docker's fields; a name without a container refers to an image."""
    hythe_box.run("run", "--name", "done", "-v", "/srv:/srv:ro", "-m", "50m", "box", "sh", "-c", "exit 3")
    form = "{{.Name}} {{.State.Status}} {{.State.ExitCode}} {{.Config.Image}} {{.HostConfig.Memory}} {{.Args}}"

    assert hythe_box.ok("inspect", "-f", form, "done") == "/done exited 3 box 52428800 [-c exit 3]"
    assert hythe_box.ok("inspect", "-f", "{{range .Mounts}}{{.RW}}{{end}}", "done") == "false"
    assert hythe_box.ok("inspect", "-f", "{{.Architecture}}", "box") == "amd64"
    assert hythe_box.ok("inspect", "--type", "container", "-f", "{{.Name}}", "done") == "/done"
    assert hythe_box.run("inspect", "--type", "image", "done").returncode == 3
    missing = hythe_box.run("inspect", "--type", "container", "box", "done")
    assert (missing.returncode, "no such container: box" in missing.stderr) == (3, True)


def test_export(hythe_box: ContainersHythe, tmp_path: Path) -> None:
    """export writes the whole file system, including changes."""
    hythe_box.ok("run", "--name", "web", "box", "sh", "-c", "echo new > /etc/new; rm /etc/second")
    hythe_box.ok("export", "-o", tmp_path / "web.tar", "web")
    names = subprocess.run(["tar", "-tf", tmp_path / "web.tar"], capture_output=True, text=True, check=True).stdout

    assert {"bin/busybox", "etc/first", "etc/new"} <= set(names.splitlines())
    assert "etc/second" not in names.splitlines()
