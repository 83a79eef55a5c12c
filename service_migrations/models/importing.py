"""The import of a service's models; an error names the line of the repository that raised it."""

import importlib
import pkgutil
import sys
import traceback
from pathlib import Path
from types import ModuleType

from service_migrations.errors import ConfigurationError, text_of
from service_migrations.interruption import stops
from service_migrations.models.service_code import code_of, modules_of
from service_migrations.monorepo import Service

__all__ = ["import_models", "where", "where_defined"]


def import_models(service: Service) -> ModuleType:
    """Import a service's models, and all modules of the package.

    A module that nothing else imports may have a model that was forgotten. Where the sources of two services have a
    package of one name, such as ``app``, both are used.

    Raises:
        ConfigurationError: they can't be imported, or were imported from another folder than the service's.

    """
    name = service.models
    try:
        with code_of(service):
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
        text = f"{name} can't be imported: {place}{type(error).__name__}: {text_of(error)}".rstrip(" :.")
        raise ConfigurationError(f"{text}.", service=service, path=path, line=line) from error
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
    """Return the file and line of the service where its import failed, or else of another of the repository."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return service.relative(Path(error.filename)), error.lineno
    frames = list(reversed(list(traceback.walk_tb(error.__traceback__))))
    installed = (Path(sys.prefix), Path(__file__).parents[1])
    own = (pair for pair in frames if not any(map(Path(pair[0].f_code.co_filename).is_relative_to, installed)))
    return service.first_place(frames, service.path) or service.first_place(own, service.root) or (None, None)


def where(service: Service, module: ModuleType) -> str:
    """Return a module's file for a message, relative to the repository."""
    return service.relative(Path(module.__file__ or service.models))


def where_defined(service: Service, module: ModuleType, exported: object) -> str:
    """Return the file of a model that a service's models export; of one from another package, their own."""
    defining = modules_of(service).get(getattr(exported, "__module__", ""), module)
    return where(service, defining if defining.__name__.startswith(module.__name__) else module)
