"""The arguments that a team's env.py reads with ``context.get_x_argument()``, as Alembic's option ``-x`` has them."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from service_migrations.errors import UsageError

__all__ = ["current_x_arguments", "x_arguments"]

_arguments: ContextVar[tuple[str, ...]] = ContextVar("x_arguments", default=())


@contextmanager
def x_arguments(*arguments: str) -> Iterator[None]:
    """Pass arguments to env.py in each command of the block, also in its worker processes.

    Args:
        arguments: such as ``tenant=a``; those of a block around this one don't hold in it.

    Raises:
        UsageError: one of them is ``service=…``, which only the program ``alembic`` reads.

    """
    for argument in arguments:
        if argument.partition("=")[0] == "service":
            raise UsageError(f"-x {argument}: the service is no argument of env.py here.", hint="Use --service.")
    token = _arguments.set(arguments)
    try:
        yield
    finally:
        _arguments.reset(token)


def current_x_arguments() -> list[str]:
    """Return the arguments of the block around the call."""
    return list(_arguments.get())
