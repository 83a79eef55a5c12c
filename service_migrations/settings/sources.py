"""The sources of settings: the environment, the service's .env and the root's .env, and which of them wins.

``load_dotenv`` writes to the process, so that the first service's DSN would win for all the others. This module writes
nothing to ``os.environ``, and reads a .env with python-dotenv's own parser, without interpolation.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from service_migrations.errors import ConfigurationError, MigrationError
from service_migrations.files import is_there
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.env_file import Assignment, read
from service_migrations.settings.keys import KEYS
from service_migrations.settings.missing import dsn_missing, meant_key, similar_key, variables_missing
from service_migrations.settings.notices import exposures, warn_of_exposure, warn_of_misspelt_key, warn_of_withheld
from service_migrations.settings.password import PASSWORD_KEYS, with_function, with_password
from service_migrations.settings.setting import (
    BARE,
    DEFAULT,
    PREFIXED,
    ROOT_FILE,
    SERVICE_FILE,
    Kind,
    Origin,
    Setting,
    given_dsns,
)
from service_migrations.settings.template import Role, Template, Variable, template_of

__all__ = ["Sources"]

_DEFAULT = Origin(DEFAULT, "default")
_KINDS: Mapping[str, Kind] = {
    **{key: "dsn" for key in KEYS if key.endswith("_DSN")},
    "DATABASE_PASSWORD": "password",
    "DATABASE_PASSWORD_COMMAND": "command",
}


class Sources:
    """The sources of all settings of a command: the environment, and each file as it was at its first reading.

    A command passes one value on, so that it uses the database that a person has confirmed. The class has no repr of
    its attributes, which contain passwords.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        files: dict[Path, tuple[Assignment, ...] | ConfigurationError] | None = None,
        has_bare: bool = True,
    ) -> None:
        """Read the environment of the process, or use another one.

        Args:
            environment: the variables; those of the process where it is None.
            files: the files that were read already.
            has_bare: whether variables without the prefix of a service count.

        """
        self._environment = dict(os.environ if environment is None else environment)
        self._files = {} if files is None else files
        self._has_bare = has_bare
        self._without_bare: Sources | None = None

    def of_siblings(self) -> "Sources":
        """Return the same sources without variables that have no prefix: those are for the selected service."""
        if self._without_bare is None:
            sources = Sources(self._environment, files=self._files, has_bare=False)
            sources._without_bare = sources
            self._without_bare = sources
        return self._without_bare

    def bare(self, service: Service, key: str) -> str | None:
        """Return where a key is set without the prefix of a service for this command: the environment, or --env-file.

        Raises:
            ConfigurationError: the file can't be read, or has a line that is no assignment.

        """
        if self._environment.get(key):
            return f"environment {key}"
        if not service.is_env_file_given:
            return None
        path = service.relative(service.env_file)
        numbers = [line.number for line in self._lines(service.env_file, path) if line.key == key and line.value]
        return f"{path}:{numbers[-1]} {key}" if numbers else None

    def collect(self, service: Service) -> dict[str, tuple[Setting, ...]]:
        """Return the settings of a service by key; of each key all layers, the winning one first.

        Highest first: ``BILLING_<KEY>`` in the environment, ``<KEY>`` in the environment, the service's .env, the
        root's .env, the default. An empty value in the environment counts as not set. Among the settings of
        DATABASE_DSN are the variable that the table calls ``dsn_key``, and the filled template ``dsn``.

        Raises:
            ConfigurationError: a .env can't be read, or has a line that is no assignment; a file that was chosen for
                this command doesn't exist; the template or a value of it is invalid.

        """
        template = template_of(service)
        kinds = _kinds(service, template)
        layers = {key: self._of_environment(service, key, kind) for key, kind in kinds.items()}
        for name in self._environment if self._has_bare else ():
            key = name.removeprefix(service.env_prefix)
            if key not in kinds and (meant := meant_key(key, kinds)):
                warn_of_misspelt_key("environment", name, name.removesuffix(key) + meant)
        self._refuse_absent(service)
        for path, file_settings in self._of_files(service, kinds, template):
            for setting in file_settings:
                layers[setting.key].append(setting)
            # of a sibling, which is only compared with, nobody wants to read here: there may be hundreds
            if self._has_bare:
                warn_of_exposure(service, path, file_settings)
        for key, default in KEYS.items():
            if default is not None:
                layers[key].append(Setting(key, default, _DEFAULT))
        self._add_dsns(service, template, layers)
        return {key: tuple(settings) for key, settings in layers.items()}

    def _of_environment(self, service: Service, key: str, kind: Kind) -> list[Setting]:
        names = [(PREFIXED, service.env_prefix + key), *([(BARE, key)] if self._has_bare else [])]
        return [
            Setting(key, self._environment[name], Origin(layer, f"environment {name}"), kind)
            for layer, name in names
            if self._environment.get(name)
        ]

    def _add_dsns(self, service: Service, template: Template | None, layers: dict[str, list[Setting]]) -> None:
        """Add what the table names to the settings of DATABASE_DSN, behind those of the same layer."""
        if service.dsn_key and service.dsn_key not in KEYS:
            layers["DATABASE_DSN"] += layers.pop(service.dsn_key)
        given = [setting.origin.layer for key in ("DATABASE_DSN", "DATABASE_DIRECT_DSN") for setting in layers[key]]
        # a value that can't be is no error where another DSN wins
        decides = template is not None and template.layer(layers) > max(given, default=-1)
        if template and decides and not _missing(service, template, layers):
            filled = template.fill(layers)
            layers["DATABASE_DSN"].append(filled.setting)
            if filled.withheld and filled.server:
                warn_of_withheld(service, filled.withheld, filled.server.origin)
        layers["DATABASE_DSN"].sort(key=lambda setting: -setting.origin.layer)

    def merging_variable(self, first: Service, second: Service) -> str | None:
        """Return where a variable without a prefix is set that leads the templates of two services to one database.

        None where it leads them to one server only, or where their own settings lead to one database too.

        Args:
            first: a service, whose settings lead to the same database as those of the other.
            second: the other.

        """
        bare: dict[Role, str] = {}
        for service in (first, second):
            template, values = template_of(service), self.collect(service)
            if template is None or not given_dsns(values)[0].origin.is_table:
                return None
            bare_layers = (BARE, ROOT_FILE) if service.is_env_file_given else (BARE,)
            for item in template.variables:
                if values[item.key] and values[item.key][0].origin.layer in bare_layers:
                    bare.setdefault(item.role, item.key)
        own = [self.of_siblings().server_and_database(service) for service in (first, second)]
        differ = None not in own and own[0] != own[1]
        key = bare.get("database") or (differ and (bare.get("host") or bare.get("port"))) or None
        return (key and self.bare(first, key)) or key

    def server_and_database(self, service: Service) -> object:
        """Return a value that is equal for two services with one database; None where it isn't known."""
        with suppress(MigrationError):
            return next((setting.dsn.identity for setting in given_dsns(self.collect(service))), None)
        return None

    def exposed(self, service: Service) -> tuple[str, ...]:
        """Return a line for each .env of a service that contains a password and that other users can read.

        Raises:
            ConfigurationError: a .env can't be read, or has a line that is no assignment.

        """
        template = template_of(service)
        files = self._of_files(service, _kinds(service, template), template)
        return exposures(service, files)

    def service_dsn(self, service: Service, collected: Mapping[str, tuple[Setting, ...]]) -> Dsn:
        """Return the DSN of a service by its collected settings; the highest layer decides.

        So a DIRECT_DSN in a .env never wins over the environment. A password apart that is of a lower layer than the
        DSN is used only where that layer has a DSN of the same server: a .env's password goes to no other host.

        Raises:
            ConfigurationError: there is no DSN, or it or its password is invalid.

        """
        candidates, template = given_dsns(collected), template_of(service)
        first_dsn = candidates[0] if candidates else None
        if template and (missing := _missing(service, template, collected)):
            layer = template.layer(collected)
            if first_dsn is None or first_dsn.origin.layer < layer:
                raise variables_missing(service, missing, template.place)
        if first_dsn is None:
            raise dsn_missing(service, self._all_lines(service))
        dsn = first_dsn.dsn
        secrets = [setting for key in PASSWORD_KEYS for setting in collected[key]]
        if not secrets:
            return with_function(dsn, service) if service.password and dsn.password is None else dsn
        secret = max(secrets, key=lambda setting: setting.origin.layer)
        same_layer = [setting for setting in secrets if setting.origin.layer == secret.origin.layer]
        if len(same_layer) > 1:
            raise ConfigurationError(
                f"{secret.name} and {same_layer[1].key} are both set.",
                path=secret.origin.path,
                hint="Remove one of them.",
            )
        if secret.origin.layer < first_dsn.origin.layer:
            if dsn.password is not None:
                return dsn
            if not _names_server(collected, secret.origin.layer, dsn, template):
                warn_of_withheld(service, secret, first_dsn.origin)
                return dsn
        file = {SERVICE_FILE: service.env_file, ROOT_FILE: service.shared_env_file or service.env_file}
        return with_password(dsn, secret, service, file.get(secret.origin.layer))

    def similar_key(self, service: Service) -> str | None:
        """Return the key of the .env files that is nearly the one of the DSN; None where there is none."""
        return similar_key(service, self._all_lines(service))

    def forget(self, path: Path) -> None:
        """Forget a file that was written, so that it is read again."""
        self._files.pop(path, None)

    def _of_files(
        self, service: Service, kinds: Mapping[str, Kind], template: Template | None
    ) -> list[tuple[Path, list[Setting]]]:
        """Return the settings of each .env, the service's first; of a key with two lines, the last.

        In a file that was named for this command, a key may have the prefix of the service, as in the environment.
        """
        optional = (
            {item.key for item in template.variables if item.role == "password" or item.default} if template else set()
        )

        def of_file(path: Path, layer: int, prefix: str = "") -> list[Setting]:
            shown_path = service.relative(path)
            settings: dict[str, Setting] = {}
            for line in self._lines(path, shown_path):
                key = line.key.removeprefix(prefix)
                if self._has_bare and key not in kinds and (meant := meant_key(key, kinds)):
                    warn_of_misspelt_key(f"{shown_path}:{line.number}", key, meant)
                if key not in kinds or not line.key.startswith(prefix):
                    continue
                if not line.value and key not in optional:
                    raise ConfigurationError(
                        f"{line.key} is empty.",
                        path=shown_path,
                        line=line.number,
                        hint="Give it a value, or remove the line.",
                    )
                settings[key] = Setting(key, line.value or "", Origin(layer, f"{shown_path}:{line.number}"), kinds[key])
            return [setting for setting in settings.values() if setting.value or setting.kind == "password"]

        own, shared = service.env_file, service.shared_env_file
        if shared:
            return [(own, of_file(own, SERVICE_FILE)), (shared, of_file(shared, ROOT_FILE))]
        return [
            (own, of_file(own, SERVICE_FILE, service.env_prefix) + (of_file(own, ROOT_FILE) if self._has_bare else []))
        ]

    def _refuse_absent(self, service: Service) -> None:
        """Refuse an environment, or a file, that was chosen for this command and isn't there."""
        own, shared = service.env_file, service.shared_env_file
        if not (service.environment or service.is_env_file_given) or is_there(own) or (shared and is_there(shared)):
            return
        path = service.relative(own)
        if shared:
            text, hint = f"{path} and {service.relative(shared)} do not exist.", "Correct --env or MIGRATIONS_ENV."
        else:
            text, hint = f"{path} does not exist.", "Correct --env-file or MIGRATIONS_ENV_FILE."
        raise ConfigurationError(text, path=path, hint=hint)

    def _all_lines(self, service: Service) -> list[Assignment]:
        paths = filter(None, (service.env_file, service.shared_env_file))
        return [line for path in paths for line in self._lines(path, service.relative(path))]

    def _lines(self, path: Path, shown_path: str) -> "tuple[Assignment, ...]":
        if path not in self._files:
            try:
                self._files[path] = read(path, shown_path)
            except ConfigurationError as error:
                # a new error: the frames of the old one hold the file's text, and a report with the variables of
                # frames (pytest --showlocals) prints them
                self._files[path] = error.with_hint("")
        lines = self._files[path]
        if isinstance(lines, ConfigurationError):
            raise lines.with_hint("")
        return lines


def _kinds(service: Service, template: Template | None) -> dict[str, Kind]:
    """Return the kind of each key of a service: the library's own, and those that the table names."""
    kinds: dict[str, Kind] = {key: _KINDS.get(key, "value") for key in KEYS}
    if service.dsn_key:
        kinds.setdefault(service.dsn_key, "dsn")
    for item in template.variables if template else ():
        if item.role == "password":
            kinds[item.key] = "password"
        else:
            kinds.setdefault(item.key, "value")
    return kinds


def _missing(service: Service, template: Template, values: Mapping[str, Sequence[Setting]]) -> tuple[Variable, ...]:
    """Return the variables that a template lacks; a password may come from elsewhere."""
    has_password = service.password or any(values[key] for key in PASSWORD_KEYS)
    return tuple(item for item in template.missing(values) if item.role != "password" or not has_password)


def _names_server(
    collected: Mapping[str, tuple[Setting, ...]], layer: int, dsn: Dsn, template: Template | None
) -> bool:
    """Whether a DSN of a layer, or the template without the layers above it, leads to the server of another DSN."""
    settings = (*collected["DATABASE_DIRECT_DSN"], *collected["DATABASE_DSN"])
    of_layer = (setting for setting in settings if setting.origin.layer == layer)
    if any(setting.dsn.server == dsn.server for setting in of_layer):
        return True
    return template is not None and template.server(collected, layer) == dsn.server
