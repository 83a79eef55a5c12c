"""What the code of one service sees: its own modules, also where another service's have their names, and variables."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from types import ModuleType

from service_migrations.interpreter import outputs_kept_open
from service_migrations.interruption import handlers_kept, is_ours
from service_migrations.monorepo import Service, discover
from service_migrations.own_logging import logging_kept
from service_migrations.process_state import process_state_of
from service_migrations.settings.keys import leads_to_a_database

__all__ = ["all_modules", "code_of", "modules_of"]

_apart: dict[Path, dict[str, ModuleType]] = {}
"""The modules of sources that aren't in ``sys.modules``: another source has some of their names, or its code is run."""

_added: set[str] = set()
"""The folders that were put on ``sys.path`` here."""


@contextmanager
def code_of(service: Service, *, awaits: bool = False) -> Iterator[None]:
    """Run code of a service, such as its models or revisions, as if no other service were there.

    Its source and the top level come first on ``sys.path``, and stay there. The sources of other services, and the
    modules that were imported from them, are hidden meanwhile. Of modules of one name, those that were imported first
    are in ``sys.modules`` afterwards, and all are used.

    Args:
        service: the service.
        awaits: whether the block awaits something. Then an application may set variables meanwhile, and of those that
            are changed only the settings of databases are taken back.

    """
    with ExitStack() as stack:
        stack.enter_context(process_state_of(service.path, partial(_is_setting, service) if awaits else bool))
        stack.enter_context(outputs_kept_open())
        stack.enter_context(logging_kept())
        stack.enter_context(handlers_kept(is_ours))  # else a signal would no longer end the run
        for folder in dict.fromkeys((str(service.root), str(service.source))):
            if folder not in sys.path:
                sys.path.insert(0, folder)
                _added.add(folder)
        foreign = _added - {str(service.root), str(service.source)}
        displaced = {name for name in _colliding(service) | _of(foreign) if name in sys.modules}
        if foreign or displaced:
            stack.enter_context(_hidden(service, foreign, displaced))
        yield


def _is_setting(service: Service, variable: str) -> bool:
    return leads_to_a_database(variable) or variable == service.dsn_key or f"{{{variable}" in (service.dsn or "")


def modules_of(service: Service) -> Mapping[str, ModuleType]:
    """Return the loaded modules as a service's models see them."""
    return {**_loaded(), **_apart.get(service.source.resolve(), {})}


def all_modules() -> Iterator[ModuleType]:
    """Yield all loaded modules, of whatever service."""
    yield from _loaded().values()
    for modules in _apart.values():
        yield from modules.values()


def _loaded() -> dict[str, ModuleType]:
    """Return the loaded modules, copied in one step: another thread of an application may import meanwhile."""
    return sys.modules.copy()


def _colliding(service: Service) -> set[str]:
    """Return the packages that the source of a service has too, and that were imported from another service's."""
    if service.source == service.root or not service.source.is_dir():
        return set()
    source = service.source.resolve()
    homes = {name: _home(sys.modules.get(name)) for name in {entry.stem for entry in source.iterdir()}}
    others = {name: home for name, home in homes.items() if home not in (None, source)}
    if not others:
        return set()
    sources = {other.source.resolve() for other in discover(service.root) if other.source != service.root}
    return {name for name, home in others.items() if home in sources}


def _of(folders: set[str]) -> set[str]:
    """Return the names of the packages and modules that were imported from folders."""
    if not folders:
        return set()  # there are thousands of modules
    homes = {Path(folder).resolve() for folder in folders}
    return {name for name, module in _loaded().items() if "." not in name and _home(module) in homes}


@contextmanager
def _hidden(service: Service, folders: set[str], names: set[str]) -> Iterator[None]:
    """Hide folders of ``sys.path``, and packages, which make room for those of a service."""
    source = service.source.resolve()
    by_home = {name: _home(sys.modules.get(name)) or source for name in names}
    displaced = {name: _taken(name) for name in names}
    for name, modules in displaced.items():
        _apart.setdefault(by_home[name], {}).update(modules)
    sys.modules.update(_apart.pop(source, {}))
    hidden = [folder for folder in sys.path if folder in folders]
    sys.path[:] = [str(service.source), *(folder for folder in sys.path if folder not in folders)]
    try:
        yield
    finally:
        with suppress(ValueError):  # the code may have removed it, or given sys.path another list
            sys.path.remove(str(service.source))
        sys.path[:0] = [folder for folder in hidden if folder not in sys.path]
        for name, modules in displaced.items():
            if own := _taken(name):
                _apart.setdefault(source, {}).update(own)
            for module in modules:
                _apart.get(by_home[name], {}).pop(module, None)
            sys.modules.update(modules)


def _home(module: ModuleType | None) -> Path | None:
    """Return the folder that a top-level module was imported from; None where that isn't one folder."""
    attributes = getattr(module, "__dict__", {})
    try:
        folders = list(attributes.get("__path__", ()))
        file = attributes.get("__file__")
    except Exception:  # noqa: BLE001 - anything may be in sys.modules
        return None
    if len(folders) == 1:
        return _parent(str(folders[0]))
    return _parent(file) if isinstance(file, str) and not folders else None


@cache
def _parent(path: str) -> Path:
    return Path(path).resolve().parent


def _taken(package: str) -> dict[str, ModuleType]:
    """Remove a package from ``sys.modules``, and return its modules."""
    names = [name for name in _loaded() if name == package or name.startswith(f"{package}.")]
    return {name: sys.modules.pop(name) for name in names}
