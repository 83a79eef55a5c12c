"""The ``.env.example`` of a service, which is committed, and the .env that is made from it."""

import re
import secrets
from collections.abc import Mapping
from io import StringIO
from types import MappingProxyType
from urllib.parse import quote

from service_migrations._dotenv import parse_stream
from service_migrations.errors import ConfigurationError
from service_migrations.files import is_there, read_text
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn, parse
from service_migrations.settings.setting import SERVICE_FILE, Origin, Setting
from service_migrations.settings.template import Template, template_of

__all__ = ["MARK", "assignments", "example", "lines", "made_for", "made_here", "made_part", "with_values"]

_DSN = "DATABASE_DSN"

MARK = "# Made by `inv up` for the project's own PostgreSQL."
"""The first line of a .env that was made for the developer's cluster, or of the part of one that was added for it."""

_LINE = re.compile(r"\s*(?:export\s+)?(\w+)\s*=\s*(.*)")
_BOM = "\ufeff"
"""What an editor of Windows may put at the beginning of a file."""
_PLAIN = re.compile(r"[\w./:@%+,?=&-]*")


def example(service: Service) -> Dsn:
    """Return the DSN of a service's .env.example, with the service's name in its placeholders.

    It is that of the variables which the table of pyproject.toml names, or else DATABASE_DSN. Services whose examples
    name one database share it.

    Raises:
        ConfigurationError: the example can't be read, or has no valid DSN.

    """
    if template := template_of(service):
        values = _filled_in(service) if is_there(service.env_example) else {}
        if any(item.role == "database" and item.key not in values for item in template.missing({})):
            text = "It names no database, so no .env can be made from it."
            raise ConfigurationError(text, path=service.relative(service.env_example))
        return _of_template(service, template, _completed(service, template, values))
    return _of_key(service)[1]


def assignments(
    service: Service, host: str, port: int, passwords: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Return the variables of a .env that lead a service to a server, made from its .env.example.

    Args:
        service: the service.
        host: the server's.
        port: the server's.
        passwords: those of roles that other services have on the server; a role has one.

    Raises:
        ConfigurationError: the example can't be read or has no valid DSN, or the template leads to another server.

    """
    if template := template_of(service):
        values = _completed(service, template, _filled_in(service), host, port)
        dsn = _of_template(service, template, values)
        if password := passwords.get(dsn.user):
            values |= {item.key: password for item in template.variables if item.role == "password"}
        if dsn.hosts[0][1] != port or not dsn.is_local:
            raise ConfigurationError(
                f"{template.place} leads to {dsn.target}, and never to {host}:{port}.",
                path=service.relative(service.env_example),
                hint="Let it take host and port from variables, such as {POSTGRES_HOST}:{POSTGRES_PORT:-5432}.",
            )
        return values
    scheme, dsn = _of_key(service)
    user = quote(dsn.user, safe="")
    password = quote(passwords.get(dsn.user) or dsn.password or secrets.token_urlsafe(18), safe="")
    return {service.dsn_key or _DSN: f"{scheme}://{user}:{password}@{host}:{port}/{quote(dsn.database, safe='')}"}


def with_values(example_lines: list[str], values: Mapping[str, str]) -> list[str]:
    """Return lines of a .env with other values; those without a line are put where DATABASE_DSN is, or at the end."""
    result: list[str] = []
    keys = [match[1] if (match := _LINE.match(line)) else "" for line in example_lines]
    missing = {key: value for key, value in values.items() if key not in keys}
    for key, line in zip(keys, example_lines, strict=True):
        if key in values:
            result.append(_assignment(key, values[key]))
        elif key == _DSN:
            result += [_assignment(name, missing.pop(name)) for name in list(missing)]
        else:
            result.append(line)
    return [*result, *(_assignment(key, value) for key, value in missing.items())]


def lines(service: Service) -> list[str]:
    """Return the lines of a service's .env.example.

    Raises:
        ConfigurationError: it can't be read.

    """
    path = service.relative(service.env_example)
    try:
        return read_text(service.env_example, encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"byte {error.start} is not UTF-8.", path=path, hint="Save the file as UTF-8."
        ) from None
    except OSError as error:
        text, hint = f"{path} can't be read: {error.strerror}.", "A .env is made from it."
        raise ConfigurationError(text, path=path, hint=hint) from error


def made_here(service: Service) -> bool:
    """Whether a service's .env, or a part of it, was written for the developer's cluster."""
    return bool(made_part(service))


def made_for(service: Service, host: str, port: int) -> bool:
    """Whether a service's .env was written for the developer's cluster, when that had an address."""
    made = made_part(service).splitlines()
    return any(f"@{host}:{port}/" in line or line.endswith(f"={port}") for line in made)


def made_part(service: Service) -> str:
    """Return the part of a service's .env that was written for the developer's cluster; empty where there is none."""
    path = service.env_file
    if not is_there(path):
        return ""
    try:
        text = read_text(path, errors="surrogateescape")
    except OSError:
        return ""  # loading the settings reports it
    return text[text.index(MARK) :] if text.removeprefix(_BOM).startswith(MARK) or f"\n{MARK}" in text else ""


def _of_key(service: Service) -> tuple[str, Dsn]:
    """Return the scheme and the DSN of the variable that holds one."""
    path, values = service.relative(service.env_example), _filled_in(service)
    for key in filter(None, (service.dsn_key, _DSN)):
        if key in values:
            return values[key].partition("://")[0], parse(values[key], f"{path}: {key}")
    raise ConfigurationError(f"{service.dsn_key or _DSN} is missing, so no .env can be made from it.", path=path)


def _filled_in(service: Service) -> dict[str, str]:
    """Return the assignments of a service's .env.example without placeholders."""
    password = secrets.token_urlsafe(18)
    values = {}
    # as a .env is read: what stands behind a value may be a comment
    for binding in parse_stream(StringIO("\n".join(lines(service)))):
        if binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value.replace("<service>", service.name).replace("<password>", password)
    return values


def _completed(
    service: Service, template: Template, values: Mapping[str, str], host: str = "localhost", port: int = 5432
) -> dict[str, str]:
    """Return the variables of a template, with a value for those that the example lacks."""
    defaults = {"user": service.name, "database": service.name, "password": secrets.token_urlsafe(18)}
    completed: dict[str, str] = {}
    for item in template.variables:
        if item.role in ("host", "port"):
            completed[item.key] = host if item.role == "host" else str(port)
        else:
            value = values.get(item.key) or item.default or defaults.get(item.role)
            if value is None:
                path = service.relative(service.env_example)
                raise ConfigurationError(f"{item.key} is missing, so no .env can be made from it.", path=path)
            completed.setdefault(item.key, value)
    return completed


def _of_template(service: Service, template: Template, values: Mapping[str, str]) -> Dsn:
    path = service.relative(service.env_example)
    settings = {key: [Setting(key, value, Origin(SERVICE_FILE, path))] for key, value in values.items()}
    return parse(template.fill(settings).setting.value, f"{path} with {template.place}")


def _assignment(key: str, value: str) -> str:
    if _PLAIN.fullmatch(value):
        return f"{key}={value}"
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{key}='{escaped}'"
