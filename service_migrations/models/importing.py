"""The import of a service's models; an error names the line of the repository that raised it."""

import importlib
import pkgutil
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from service_migrations.errors import ConfigurationError, text_of
from service_migrations.interruption import stops
from service_migrations.monorepo import Service, discover
from service_migrations.process_state import process_state_of

__all__ = ["all_modules", "import_models", "modules_of", "where", "where_defined"]

_apart: dict[Path, dict[str, ModuleType]] = {}
"""The modules of sources whose package has the name of another service's, which is the one in ``sys.modules``."""


def import_models(service: Service) -> ModuleType:
    """Import a service's models, and all modules of the package.

    A module that nothing else imports may have a model that was forgotten. Where the sources of two services have a
    package of one name, such as ``app``, the one that was imported first stays in ``sys.modules``, and both are used.
    What they do to the environment is seen by this service only.

    Raises:
        ConfigurationError: they can't be imported, or were imported from another folder than the service's.

    """
    for folder in dict.fromkeys((str(service.root), str(service.source))):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    name = service.models
    try:
        with process_state_of(service.path), _isolated(service):
            module = importlib.import_module(name)
            _refuse_elsewhere(service, module)
            for submodule in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
                name = submodule.name
                importlib.import_module(name)
    except ConfigurationError:
        raise
    except BaseException as error:
        if stops(error):
            raise
        path, line = _place(service, error)
        place = f"{path}:{line}: " if path else ""
        text = f"{name} can't be imported: {place}{type(error).__name__}: {text_of(error)}"
        raise ConfigurationError(text, service=service, path=path, line=line) from error
    return module


def modules_of(service: Service) -> Mapping[str, ModuleType]:
    """Return the loaded modules as a service's models see them."""
    return {**sys.modules, **_apart.get(service.source, {})}


def all_modules() -> Iterator[ModuleType]:
    """Yield all loaded modules, of whatever service."""
    yield from list(sys.modules.values())
    for modules in _apart.values():
        yield from modules.values()


@contextmanager
def _isolated(service: Service) -> Iterator[None]:
    """Let a service import its own package where another service's source has one of that name."""
    package = service.models.partition(".")[0]
    loaded = _source_of(sys.modules.get(package))
    sources = {other.source.resolve() for other in discover(service.root) if other.source != service.root}
    if loaded is None or loaded == service.source.resolve() or not {loaded, service.source.resolve()} <= sources:
        yield
        return
    displaced = _taken(package)
    sys.modules.update(_apart.pop(service.source, {}))
    sys.path.insert(0, str(service.source))
    try:
        yield
    finally:
        sys.path.remove(str(service.source))
        _apart[service.source] = _taken(package)
        sys.modules.update(displaced)


def _source_of(module: ModuleType | None) -> Path | None:
    """Return the folder that a top-level module was imported from; None where that isn't one folder."""
    folders = list(getattr(module, "__path__", ()))
    if len(folders) == 1:
        return Path(folders[0]).resolve().parent
    file = getattr(module, "__file__", None)
    return Path(file).resolve().parent if file and not folders else None


def _taken(package: str) -> dict[str, ModuleType]:
    """Remove a package from ``sys.modules``, and return its modules."""
    names = [name for name in sys.modules if name == package or name.startswith(f"{package}.")]
    return {name: sys.modules.pop(name) for name in names}


def _refuse_elsewhere(service: Service, module: ModuleType) -> None:
    file = Path(module.__file__ or "")
    expected = service.models_file
    if expected is None or file.resolve() != expected.resolve():
        raise ConfigurationError(
            f"{service.models} was imported from {file}, not from {service.source}.",
            service=service,
            hint=f"Another package named {service.models.partition('.')[0]!r} comes first on sys.path.",
        )


def _place(service: Service, error: BaseException) -> tuple[str | None, int | None]:
    """Return the file and line of the service where its import failed."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return service.relative(Path(error.filename)), error.lineno
    frames = reversed(list(traceback.walk_tb(error.__traceback__)))
    return service.first_place(frames, service.path) or (None, None)


def where(service: Service, module: ModuleType) -> str:
    """Return a module's file for a message, relative to the repository."""
    return service.relative(Path(module.__file__ or service.models))


def where_defined(service: Service, module: ModuleType, exported: object) -> str:
    """Return the file of a model that a service's models export; of one from another package, their own."""
    defining = modules_of(service).get(getattr(exported, "__module__", ""), module)
    return where(service, defining if defining.__name__.startswith(module.__name__) else module)
