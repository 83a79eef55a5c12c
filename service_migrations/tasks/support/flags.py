"""The flags of tasks: short ones for the most frequent options, and the refusal of what would be passed over."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from itertools import pairwise
from typing import Any

from invoke.context import Context
from invoke.parser.argument import Argument
from invoke.tasks import Task

from service_migrations.env_files import ENV_FILE, ENVIRONMENT, env_files
from service_migrations.errors import UsageError
from service_migrations.top_level import working_directory

__all__ = [
    "SHORT_FLAGS",
    "TaskWithFlags",
    "TaskWithSettings",
    "chosen_environment",
    "refuse_ignored",
    "remainder_words",
]

SHORT_FLAGS = {"service": "s", "message": "m"}
"""The options with a short flag, which means the same in every task."""


_KEPT = ("kind", "default", "help", "positional", "optional", "incrementable", "attr_name")
"""What an argument of Invoke's is made of, apart from its names."""


class _Argument(Argument):
    """An argument of which a shallow copy is enough: Invoke replaces its values, and changes none in place.

    Before it reads a command line it makes deep copies of all arguments of all tasks: half of the time of a short
    command after its imports.
    """

    def __deepcopy__(self, _: object) -> "_Argument":
        return copy(self)


class TaskWithFlags(Task[Any]):
    """A task of Invoke's whose options have the short flags of ``SHORT_FLAGS``."""

    def __deepcopy__(self, _: object) -> "TaskWithFlags":
        """Return a shallow copy, with help texts of its own: of a task, Invoke changes nothing else in place."""
        copied = copy(self)
        copied.help = dict(self.help)
        return copied

    def get_arguments(self, *arguments: Any, **keywords: Any) -> list[Argument]:
        """Return the arguments that the parser reads; those of Invoke's own are long only."""
        declared: list[Argument] = []
        for argument in super().get_arguments(*arguments, **keywords):
            options = {name: getattr(argument, name) for name in _KEPT}
            short = [SHORT_FLAGS[argument.name]] if argument.name in SHORT_FLAGS else []
            declared.append(_Argument(names=(*argument.names, *short), **options))
        return declared


class TaskWithSettings(TaskWithFlags):
    """A task that reads settings, so that each has the options for another .env."""

    def get_arguments(self, *arguments: Any, **keywords: Any) -> list[Argument]:
        """Return the arguments that the parser reads, and ``--env`` and ``--env-file`` behind them."""
        return [
            *super().get_arguments(*arguments, **keywords),
            _Argument(names=("env",), help="Read .env.NAME instead of .env, of the service and of the top level."),
            _Argument(names=("env-file",), attr_name="env_file", help="Read this file instead of every .env."),
        ]


@contextmanager
def chosen_environment(env: str | None, env_file: str | None) -> Iterator[None]:
    """Let settings be read from another .env while the block runs, also by workers that it starts.

    Args:
        env: the name of an environment; None for that of MIGRATIONS_ENV, or else ``.env``.
        env_file: a file, from the working directory on; None for that of MIGRATIONS_ENV_FILE.

    Raises:
        UsageError: both are given, or one of them is empty; or the working directory was removed.

    """
    given = [(option, value) for option, value in (("--env", env), ("--env-file", env_file)) if value is not None]
    if len(given) > 1:
        raise UsageError("--env and --env-file are both given.", hint="Leave one of them out.")
    if not given:
        yield
        return
    option, value = given[0]
    if not value.strip() or value.startswith("-"):
        raise UsageError(f"{option} needs a name behind it.", hint="Is a variable empty?")
    chosen = {ENVIRONMENT: value} if option == "--env" else {ENV_FILE: str(working_directory() / value)}
    with env_files(**chosen):
        yield


_END = "--"


def refuse_ignored(context: Context, lists: Iterable[str], texts: Iterable[str], *, remainder: bool) -> None:
    """Refuse ``--dry``, words after the two dashes, a repeatable option without a value, and an empty text.

    Args:
        context: the task's.
        lists: the options that may be repeated. Invoke accepts them without a value, so ``--service $UNSET`` would
            mean all services.
        texts: the other options with a value. An empty one is the same as none, so ``--shard "$UNSET"`` would too.
        remainder: whether the task takes words after the two dashes.

    Raises:
        UsageError: one of them is given.

    """
    if context.config.run.dry:
        raise UsageError(
            "--dry is Invoke's own option, and no task here heeds it.",
            hint="`inv db.plan` shows what an upgrade would run, and `inv db.upgrade --sql` prints it.",
        )
    words = remainder_words()
    if words and not remainder:
        raise UsageError(f"Nothing is read behind `{_END}`: {' '.join(words)}.", hint="Options stand before it.")
    typed = sys.argv[1 : sys.argv.index(_END)] if _END in sys.argv else sys.argv[1:]
    pairs = [*pairwise([*typed, _END]), *(token.split("=", 1) for token in typed if "=" in token)]
    pairs += [(token[:2], token[2:]) for token in typed if len(token) > len("-s")]
    repeatable, single = _flags(lists), _flags(texts)
    for option, value in pairs:
        if option in repeatable and value.startswith("-"):
            raise UsageError(f"{option} needs a name behind it.", hint="Is a variable empty?")
        if option in single and not value.strip():
            raise UsageError(f"{option} needs a value behind it.", hint="Is a variable empty?")


def _flags(names: Iterable[str]) -> set[str]:
    """Return the flags of options."""
    names = [name.replace("_", "-") for name in names]
    short = {f"-{SHORT_FLAGS[name]}" for name in names if name in SHORT_FLAGS}
    return {f"-{name}" if len(name) == 1 else f"--{name}" for name in names} | short


def remainder_words() -> list[str]:
    """Return the words behind the two dashes.

    ``context.remainder`` has them joined with spaces, so without their quotes, and only since Invoke 3.
    """
    return sys.argv[sys.argv.index(_END) + 1 :] if _END in sys.argv else []
