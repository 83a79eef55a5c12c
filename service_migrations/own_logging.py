"""The logging of this library, which goes on where the code of a service configures its own.

``logging.config`` disables every logger that it isn't told of, and removes the handlers. The lines that name a database
or warn of something would be missing from there on, also those of the next service.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

__all__ = ["logging_kept", "restore_logging"]

_LOGGERS = ("service_migrations", "alembic")


class _State(NamedTuple):
    threshold: int
    disabled: dict[logging.Logger, bool]
    handlers: list[logging.Handler] | None
    levels: dict[logging.Logger, int]


_kept: list[_State] = []


@contextmanager
def logging_kept() -> Iterator[None]:
    """Let the library's loggers be as they are after a block that runs code of a service.

    Where the library itself prints what is logged, as its tasks do, so do the handlers and levels stay. In an
    application those are the application's, whose code it is.
    """
    _kept.append(_state())
    try:
        yield
    finally:
        restore_logging()
        _kept.pop()


def restore_logging() -> None:
    """Undo at once what the code of a service has done to the library's loggers in the current block."""
    if not _kept:
        return
    state = _kept[-1]
    if logging.root.manager.disable != state.threshold:
        logging.disable(state.threshold)
    for logger, disabled in state.disabled.items():
        logger.disabled = disabled
    if state.handlers is not None:
        logging.root.handlers[:] = state.handlers
        for logger, level in state.levels.items():
            if logger.level != level:
                logger.setLevel(level)


def _state() -> _State:
    names = [name for name in logging.root.manager.loggerDict.copy() if name.partition(".")[0] in _LOGGERS]
    loggers = [logging.getLogger(name) for name in names]
    is_printing = any(type(handler).__module__.partition(".")[0] == _LOGGERS[0] for handler in logging.root.handlers)
    return _State(
        logging.root.manager.disable,
        {logger: logger.disabled for logger in loggers},
        logging.root.handlers.copy() if is_printing else None,
        {logger: logger.level for logger in (logging.root, *loggers)},
    )
