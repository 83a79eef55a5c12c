"""The import of a service's models; an error names the line of the repository that raised it."""

import importlib
import pkgutil
import sys
import traceback
from pathlib import Path
from types import ModuleType

from service_migrations.errors import ConfigurationError
from service_migrations.monorepo import Service

__all__ = ["import_models", "where", "where_defined"]


def import_models(service: Service) -> ModuleType:
    """Import a service's models, and all modules of the package.

    A module that nothing else imports may have a model that was forgotten.

    Raises:
        ConfigurationError: they can't be imported, or were imported from another folder than the service's.

    """
    for folder in dict.fromkeys((str(service.root), str(service.source))):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    name = service.models
    try:
        module = importlib.import_module(name)
        _refuse_elsewhere(service, module)
        for submodule in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
            name = submodule.name
            importlib.import_module(name)
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:
        path, line = _place(service, error)
        place = f"{path}:{line}: " if path else ""
        text = f"{name} can't be imported: {place}{' '.join(f'{type(error).__name__}: {error}'.split())}"
        raise ConfigurationError(text, service=service, path=path, line=line) from error
    return module


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
    defining = sys.modules.get(getattr(exported, "__module__", ""), module)
    return where(service, defining if defining.__name__.startswith(module.__name__) else module)
