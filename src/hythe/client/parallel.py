"""Several pieces of work at once, in threads; the first failure, or Ctrl-C, stops all."""

import threading
from collections import deque
from collections.abc import Callable, Sequence

Work = Callable[[], None]
_POLL_SECONDS = 0.5


def run_parallel(works: Sequence[Work], workers: int, stop: Callable[[], None]) -> None:
    """Do all ``works``, ``workers`` at a time, in order; raises the first error after calling ``stop``.

    ``stop`` must make the works that are under way end soon. Ctrl-C counts as an error.
    """
    if len(works) <= 1:
        for work in works:
            work()
        return
    waiting = deque(works)
    errors: list[BaseException] = []
    threads = [
        threading.Thread(target=_work_off, args=(waiting, errors), daemon=True) for _ in range(min(workers, len(works)))
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
            thread.join(0.05 if errors else _POLL_SECONDS)
            return


def _work_off(waiting: deque[Work], errors: list[BaseException]) -> None:
    while not errors:
        try:
            work = waiting.popleft()
        except IndexError:
            return
        try:
            work()
        except BaseException as error:
            errors.append(error)
            return
