"""What a service with Advanced Alchemy has in its configuration instead of its env.py: version table and DSN."""

import ast
from collections.abc import Iterator
from pathlib import Path

from service_migrations.adoption.code.expressions import Reader
from service_migrations.adoption.code.modules import Code, Module, dotted, function_around, keyword
from service_migrations.adoption.code.variables import Text, literal
from service_migrations.adoption.environment.env_file import Environment
from service_migrations.adoption.layout.folders import python_files
from service_migrations.adoption.plain_service import PlainService

__all__ = ["alchemy_dsn", "read_alchemy"]

_PACKAGE = "advanced_alchemy"
_VERSION_TABLE = "alembic_versions"
"""The default of ``version_table_name`` (Advanced Alchemy 1.12, ``advanced_alchemy.config.common``)."""

_ALEMBIC = ("AlembicAsyncConfig", "AlembicSyncConfig")
_SQLALCHEMY = ("SQLAlchemyAsyncConfig", "SQLAlchemySyncConfig")
_OF_THE_TEMPLATE = ("compare_type", "version_table_pk", "user_module_prefix", "process_revision_directives")
"""Options that its env.py passes on, which are no hooks: a comparison here is the server's own."""


def read_alchemy(service: PlainService, environment: Environment, reader: Reader, code: Code) -> None:
    """Read the version table of the configuration whose ``script_location`` is the folder of this env.py."""
    if not _is_of_alchemy(environment):
        return
    environment.hooks[:] = [hook for hook in environment.hooks if not _is_default(environment, hook.name)]
    service.version_table = _VERSION_TABLE
    environment.unread[:] = [item for item in environment.unread if not item[0].startswith("version_table")]
    config = _config(service, reader, code)
    if config is None:
        return
    module, call = config
    for key, name in (("version_table", "version_table_name"), ("version_table_schema", "version_table_schema")):
        value = keyword(call, name)
        if value is None or (isinstance(value, ast.Constant) and value.value is None):
            continue
        text = literal(reader.text(value, module, function_around(module, value)))
        if text is None:
            environment.unread.append((key, module.path, value.lineno))
        else:
            setattr(service, key, text)


def alchemy_dsn(service: PlainService, environment: Environment, reader: Reader, code: Code) -> tuple[Text, str] | None:
    """Return the DSN of the ``SQLAlchemyAsyncConfig`` that has this configuration of Alembic, and its place."""
    if not _is_of_alchemy(environment):
        return None
    own = _config(service, reader, code)
    calls = [
        (module, call, url)
        for module, call in _calls(service, code, _SQLALCHEMY)
        if (url := keyword(call, "connection_string")) is not None
    ]
    for module, call, url in calls:
        if len(calls) > 1 and own is not None and not _has(module, call, own[1]):
            continue
        if (text := reader.text(url, module, function_around(module, url))) is not None:
            return text, f"{service.relative(module.path)}:{url.lineno}"
    return None


def _is_of_alchemy(environment: Environment) -> bool:
    """Whether an env.py is run by Advanced Alchemy's command line, which gives it a configuration of its own."""
    return dotted(environment.configure.get("version_table")) == "config.version_table_name"


def _is_default(environment: Environment, name: str) -> bool:
    """Whether an option of ``configure()`` is as in the template of Advanced Alchemy's env.py."""
    value = environment.configure.get(name)
    if name not in _OF_THE_TEMPLATE or value is None:
        return False
    if name != "process_revision_directives":
        return (dotted(value) or "").startswith("config.")
    writer = dotted(value) or ""
    values = environment.module.values.get(writer, [])
    is_empty = bool(values) and all(
        isinstance(each, ast.Call) and not each.args and (dotted(each.func) or "").endswith("Rewriter")
        for each in values
    )
    uses = [
        node for node in environment.module.nodes if isinstance(node, ast.Attribute) and dotted(node.value) == writer
    ]
    return is_empty and not uses


def _config(service: PlainService, reader: Reader, code: Code) -> tuple[Module, ast.Call] | None:
    """Return the configuration of Alembic for the folder of this env.py; an only one needs no folder."""
    calls = list(_calls(service, code, _ALEMBIC))
    folder = service.script_location.as_posix()
    for module, call in calls:
        value = keyword(call, "script_location")
        location = (
            literal(reader.text(value, module, function_around(module, value))) if value is not None else "migrations"
        )
        if location and f"{folder}/".endswith(f"/{location.strip('./')}/"):
            return module, call
    return calls[0] if len(calls) == 1 else None


def _calls(service: PlainService, code: Code, names: tuple[str, ...]) -> Iterator[tuple[Module, ast.Call]]:
    """Yield the calls of these classes in the service's files, or in those of the nearest folder above with any."""
    folders = [folder for folder in (service.path, *service.path.parents) if folder.is_relative_to(service.root)]
    for folder in folders:
        calls = [
            (module, node)
            for module in _modules(folder, code)
            for node in module.nodes
            if isinstance(node, ast.Call) and (dotted(node.func) or "").rpartition(".")[2] in names
        ]
        yield from calls
        if calls:
            return


def _modules(folder: Path, code: Code) -> Iterator[Module]:
    for path in python_files(folder):
        if module := code.with_word(path, _PACKAGE):
            yield module


def _has(module: Module, call: ast.Call, config: ast.Call) -> bool:
    """Whether a configuration of SQLAlchemy has that of Alembic, written in its place or by a name."""
    value = keyword(call, "alembic_config")
    return value is config or any(each is config for each in module.values.get(dotted(value) or "", []))
