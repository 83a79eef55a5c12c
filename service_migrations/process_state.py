"""The environment variables and the working directory, which the code of one service may change.

Models, revisions and what they import may call ``load_dotenv()``, set a variable or change the working directory. A
variable that outlived them would be a setting of the next service, which would migrate the wrong database.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

__all__ = ["process_state_of"]


class _Entered(NamedTuple):
    """An owner whose code is being run, and the variables without its own."""

    owner: Path
    base: dict[str, str]


_own: dict[Path, dict[str, str | None]] = {}
"""The variables that the code of each owner has set; None for one that it has removed."""

_entered: list[_Entered] = []

_TIME_ZONE = "TZ"


@contextmanager
def process_state_of(owner: Path, is_own: Callable[[str], bool] = bool) -> Iterator[None]:
    """Run code of an owner, which finds the variables that it has set before, and put the process back after it.

    Args:
        owner: the folder of a service, or whatever tells its code from that of others.
        is_own: whether a variable that is changed meanwhile is changed by this code; by default each is. While the
            block awaits something, an application may set variables too, which have to stay.

    """
    folder = _folder()
    if any(entered.owner == owner for entered in _entered[-1:]):
        base, outer = _entered[-1].base, None
    else:
        outer = dict(os.environ)
        base = _entered[-1].base if _entered else outer
        _write({**dict.fromkeys(outer.keys() - base.keys()), **base, **_own.get(owner, {})})
    entered = _Entered(owner, base)
    _entered.append(entered)
    try:
        yield
    finally:
        _entered.remove(entered)
        own = _own.setdefault(owner, {})
        own.update({name: value for name, value in _changes(base, os.environ).items() if is_own(name)})
        if outer is not None:
            foreign = _changes(base, outer)
            _write({name: outer.get(name) for name in own.keys() | foreign.keys()})
        if folder and folder != _folder():
            with suppress(OSError):  # removed meanwhile
                os.chdir(folder)


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str | None]:
    return {name: after.get(name) for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def _write(values: Mapping[str, str | None]) -> None:
    """Write variables into the environment, and have that of the time zone read again."""
    zone = os.environ.get(_TIME_ZONE)
    for name, value in values.items():
        if os.environ.get(name) == value:
            continue
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    if os.environ.get(_TIME_ZONE) != zone:
        time.tzset()


def _folder() -> str:
    """Return the working directory; empty where it was removed."""
    try:
        return os.getcwd()  # noqa: PTH109 - compared as text, and written back as it was
    except OSError:
        return ""
