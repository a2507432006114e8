"""Forks the processes of builds: ``python -m hythe.worker.build_fork_server``, started by ``build_process``.

Loading the code of a build takes 0.15 s of CPU time, a fork a few milliseconds. This process only loads that code and
forks, so every build starts from a state that no other build has influenced.

Standard input is a socket. Each message there is a ForkRequest or an ExitRequest, answered before the next one is read.
A ForkRequest comes with two descriptors: the standard input and output of the new process.
"""

import ctypes
import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from hythe.worker import build_main
from hythe.worker.build_messages import (
    MAX_REQUEST_SIZE,
    ExitReply,
    ExitRequest,
    ForkReply,
    ForkRequest,
    decode_request,
    encode_reply,
)

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer requests until the worker ends. All processes of builds end with this one."""
    gc.freeze()  # so that collections in the forks do not copy the pages of all modules
    with socket.socket(fileno=os.dup(0)) as requests:
        while True:
            message, descriptors, _, _ = socket.recv_fds(requests, MAX_REQUEST_SIZE, 2)
            if not message:
                return
            match decode_request(message):
                case ForkRequest():
                    reply: ForkReply | ExitReply = _fork(requests, descriptors)
                case ExitRequest(pid):
                    reply = _exit_reply(pid)
            requests.send(encode_reply(reply))


def _fork(requests: socket.socket, descriptors: Sequence[int]) -> ForkReply:
    parent, problem = os.getpid(), ""
    try:
        pid = os.fork()
    except OSError as error:
        pid, problem = -1, str(error)
    if pid == 0:
        _run_build(requests, parent, *descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    return ForkReply(pid) if pid > 0 else ForkReply(0, problem)


def _run_build(requests: socket.socket, parent: int, stdin: int, stdout: int) -> NoReturn:
    """Run a build in this process, which has just been forked."""
    code = 1
    try:
        requests.close()
        os.setsid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        for number, descriptor in enumerate((stdin, stdout)):
            os.dup2(descriptor, number)
            os.close(descriptor)
        if os.getppid() == parent:  # otherwise it ended before the call of prctl
            build_main.main()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _exit_reply(pid: int) -> ExitReply:
    done, status = os.waitpid(pid, os.WNOHANG)
    return ExitReply(os.waitstatus_to_exitcode(status) if done else None)


if __name__ == "__main__":
    main()
