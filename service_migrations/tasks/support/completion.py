"""The completion of services' names, in addition to Invoke's own, which completes tasks and options.

Invoke has no hook for the values of an option. Its scripts for bash, zsh and fish call ``inv --complete -- <words>``
and load the tasks, so that these can answer first.
"""

import shlex
from collections.abc import Iterable, Sequence

from service_migrations.errors import MigrationError
from service_migrations.monorepo import Monorepo

__all__ = ["services_for"]

_OPTIONS = ("--service", "-s", "--canary")


def services_for(words: Sequence[str], tasks: Iterable[str]) -> list[str] | None:
    """Return the names that complete a command line; None where its last word isn't the name of a service.

    Args:
        words: the arguments of this process.
        tasks: the names of the tasks that have such an option; a repository may call them otherwise, with a prefix.

    """
    if "--complete" not in words[:-1]:
        return None
    line = " ".join(words[words.index("--complete") + 1 :])
    try:
        typed = shlex.split(line)
    except ValueError:  # an open quote
        return None
    ends = {f".{task}" for task in tasks}
    if not any(f".{word}".endswith(end) for word in typed for end in ends):
        return None
    last = typed[-1]
    option, equals, start = last.partition("=")
    before = [word for word in typed[:-1] if word != "="][-1:]  # bash makes a word of it
    if option in _OPTIONS:
        prefix = f"{option}=" if equals else ""
    elif before and before[0] in _OPTIONS:
        prefix, start = "", "" if last == "=" else last
    else:
        return None
    names = _names()
    if start in names and not any(name.startswith(start) and name != start for name in names):
        return None  # the name is complete, and what follows is an option or a task
    return [f"{prefix}{name}" for name in names]


def _names() -> list[str]:
    try:
        return [service.name for service in Monorepo.locate().services()]
    except MigrationError:
        return []
