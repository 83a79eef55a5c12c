"""Words that Invoke takes and nobody heeds: a command that passed over them would do more than it was asked for."""

import sys
from collections.abc import Iterable
from itertools import pairwise

from invoke.context import Context

from service_migrations.errors import UsageError

__all__ = ["refuse_unheeded"]

_END = "--"


def refuse_unheeded(context: Context, lists: Iterable[str], *, remainder: bool) -> None:
    """Refuse ``--dry``, words behind the two dashes, and an option of names that has none.

    Args:
        context: the task's.
        lists: the options that may be repeated. Invoke lets them end without a value: a ``--service $UNSET`` would
            mean all services.
        remainder: whether the task takes what stands behind the two dashes.

    Raises:
        UsageError: there is one of them.

    """
    if context.config.run.dry:
        raise UsageError(
            "--dry is Invoke's own option, and no task here heeds it. `inv db.plan` shows what an upgrade would run, "
            "and `inv db.upgrade --sql` prints it."
        )
    if context.remainder and not remainder:
        raise UsageError(f"Nothing is read behind `{_END}`: {context.remainder}. Options stand before it.")
    typed = sys.argv[1 : sys.argv.index(_END)] if _END in sys.argv else sys.argv[1:]
    for option, value in pairwise([*typed, _END]):
        if option in {f"--{name}" for name in lists} and value.startswith("-"):
            raise UsageError(f"{option} needs a name behind it. Is a variable empty?")
