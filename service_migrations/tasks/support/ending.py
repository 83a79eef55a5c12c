"""The end of a command's process, which must be prompt and have the right exit code, whatever a revision has left."""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from os import _exit as end_process  # while a revision runs, that of the module refuses

from invoke.exceptions import Exit

from service_migrations.tasks.support import console
from service_migrations.tasks.support.signals import Stopped

__all__ = ["end_process", "exit_kept"]

_PATIENCE = 2.0
"""Seconds after which a line says why a command that is done doesn't end."""
_STOPPED = 1.0
"""Seconds that the threads of a command have that a signal has stopped."""


@contextmanager
def exit_kept() -> Iterator[None]:
    """Keep what the block has left, such as a thread or an exit handler, from delaying or changing the process's end.

    The block is a task, and raises an Exit where it has failed.
    """
    former_threads, code, is_stopped = frozenset(threading.enumerate()), 0, False
    try:
        yield
    except BaseException as error:
        code = error.code if isinstance(error, Exit) else 1
        is_stopped = isinstance(error.__context__, Stopped)
        raise
    finally:
        if code:
            _keep_code(code)
        left = [thread for thread in threading.enumerate() if thread not in former_threads and not thread.daemon]
        if left:
            threading.Thread(target=_watch, args=(left, code if is_stopped else None), daemon=True).start()
            # Python's own handler would print a traceback now, and exit as if nobody had stopped it
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _keep_code(code: int) -> None:
    """Keep an exit handler, as of a library with threads of its own, from ending a failed command with 0."""

    def replace() -> None:
        os._exit = lambda status: end_process(status or code)

    atexit.unregister(end_process)
    atexit.register(replace)  # the last one that is registered is called first


def _watch(left: list[threading.Thread], stopped_code: int | None) -> None:
    """Say why the process doesn't end, since Python waits for the ends of threads; end it where a signal has."""
    if stopped_code is not None:
        time.sleep(_STOPPED)
        end_process(stopped_code)
    threading.main_thread().join()  # it counts as ended when Python begins to wait for the others
    time.sleep(_PATIENCE)
    names = ", ".join(thread.name for thread in left if thread.is_alive())
    if names:
        console.note(
            f"The command is done, and waits for what a revision or an import has left running: {names}. "
            "Ctrl-C ends it."
        )
        sys.stderr.flush()
