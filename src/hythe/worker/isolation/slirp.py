"""Starts slirp4netns, which connects a sandbox's network namespace to the host's network.

It parses what untrusted code sends, so it runs without files and capabilities (``--enable-sandbox``) and with few
system calls (``--enable-seccomp``).

For a root worker, it runs in a mount namespace that passes nothing on to the host: with ``--enable-sandbox``, it
unmounts everything it sees, having made only the root mount private. What is mounted below shared mounts (systemd makes
all mounts shared, dockerd its data folder) would otherwise disappear from the host, too.
"""

import os
import select
import shutil
import subprocess
import tempfile

from hythe.worker.errors import IsolationUnavailable

HARDENING = ("--enable-sandbox", "--enable-seccomp")
_START_TIMEOUT = 20


def start_slirp(pid: int, *, hardened: bool) -> subprocess.Popen[bytes]:
    """Give the network namespace of process ``pid`` an interface, without access to the host's loopback.

    Not ``hardened``: for hosts where slirp4netns cannot isolate itself. Raises IsolationUnavailable.
    """
    program = shutil.which("slirp4netns")
    if program is None:
        raise IsolationUnavailable("slirp4netns is not installed: install it, or set builds_network to registry or off")
    command = [program, "--disable-host-loopback", *(HARDENING if hardened else ()), "--mtu=65520"]
    namespaces = ["--netns-type=path", f"/proc/{pid}/ns/net", "tap0"]
    user_namespace = f"/proc/{pid}/ns/user"
    if os.geteuid() == 0:
        own_mounts = ["unshare", "--mount", "--propagation", "slave", "--"]
        command = [*own_mounts, *command, f"--userns-path={user_namespace}"]
    else:
        # Its own way into the user namespace does not work with --enable-sandbox.
        command = ["nsenter", f"--user={user_namespace}", "--preserve-credentials", *command]
    ready, signal_ready = os.pipe()
    with os.fdopen(ready), tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                [*command, f"--ready-fd={signal_ready}", *namespaces],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(signal_ready,),
            )
        finally:
            os.close(signal_ready)
        is_readable = bool(select.select([ready], [], [], _START_TIMEOUT)[0])
        if is_readable and os.read(ready, 1):
            return process
        process.kill()
        process.wait()
        errors.seek(0)
        lines = errors.read(4000).decode(errors="replace").strip().splitlines() or ["no response"]
    hint = ": set builds_isolation=weaker to run it without its own isolation" if hardened else ""
    raise IsolationUnavailable(f"slirp4netns failed ({lines[-1]}){hint}")
