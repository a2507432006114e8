"""Running tasks in threads; the first failure, or Ctrl-C, stops all of them."""

import threading
from collections import deque
from collections.abc import Callable, Sequence

Task = Callable[[], None]
_POLL_INTERVAL = 0.5


def run_parallel(tasks: Sequence[Task], workers: int, stop: Callable[[], None]) -> None:
    """Run ``tasks`` in order, ``workers`` at a time; after an error, calls ``stop`` and raises the error.

    ``stop`` must make the running tasks end soon. Ctrl-C counts as an error.
    """
    if len(tasks) <= 1:
        for task in tasks:
            task()
        return
    waiting = deque(tasks)
    errors: list[BaseException] = []
    threads = [
        threading.Thread(target=_run_tasks, args=(waiting, errors), daemon=True)
        for _ in range(min(workers, len(tasks)))
    ]
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            _join_one(threads, errors)
            if errors:
                break
    except BaseException as error:
        errors.insert(0, error)
    if errors:
        waiting.clear()
        stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        raise errors[0]


def _join_one(threads: Sequence[threading.Thread], errors: Sequence[BaseException]) -> None:
    for thread in threads:
        if thread.is_alive():
            thread.join(0.05 if errors else _POLL_INTERVAL)
            return


def _run_tasks(waiting: deque[Task], errors: list[BaseException]) -> None:
    while not errors:
        try:
            task = waiting.popleft()
        except IndexError:
            return
        try:
            task()
        except BaseException as error:
            errors.append(error)
            return
