"""The database that a service's settings name, and the password for it: chosen from what the layers say."""

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches

from dotenv.parser import parse_stream

from service_migrations.errors import ConfigurationError
from service_migrations.monorepo import Service
from service_migrations.settings import dsn as uri
from service_migrations.settings._m_dsn import Dsn
from service_migrations.settings.sources import Setting

__all__ = ["other_dsn", "service_dsn"]


def service_dsn(service: Service, found: Mapping[str, tuple[Setting, ...]]) -> Dsn:
    """Return the service's DSN: the highest layer decides, so a DIRECT_DSN of a .env never beats the environment."""
    candidates = [*found["DATABASE_DIRECT_DSN"], *found["DATABASE_DSN"]]
    if not candidates:
        raise ConfigurationError(_missing(service))
    chosen = max(candidates, key=lambda setting: setting.origin.layer)
    dsn = _parsed(chosen)
    secrets = [*found["DATABASE_PASSWORD"], *found["DATABASE_PASSWORD_FILE"]]
    if not secrets:
        return dsn
    secret = max(secrets, key=lambda setting: setting.origin.layer)
    rivals = [setting for setting in secrets if setting.origin.layer == secret.origin.layer]
    if len(rivals) > 1:
        raise ConfigurationError(
            f"{secret.origin}: DATABASE_PASSWORD and DATABASE_PASSWORD_FILE are both set. Remove one of them."
        )
    if dsn.password is not None and secret.origin.layer < chosen.origin.layer:
        return dsn  # a DSN of a higher layer brings its own password; a .env's must not be sent to its host
    return replace(dsn, password=_password(secret, service))


def other_dsn(found: Mapping[str, tuple[Setting, ...]], key: str) -> Dsn | None:
    """Return the DSN of another database than the service's, where one is set."""
    settings = found[key]
    return _parsed(settings[0]) if settings else None


def _password(secret: Setting, service: Service) -> str:
    if secret.key == "DATABASE_PASSWORD":
        password = secret.value
    else:
        path = service.root / secret.value  # the tasks work in any folder
        try:
            password = path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ConfigurationError(f"{secret.origin}: DATABASE_PASSWORD_FILE can't be read: {reason}.") from None
    if uri.CONTROL.search(password):
        raise ConfigurationError(
            f"{secret.origin}: {secret.key} holds a control character, such as a line end. Remove it."
        )
    return password


def _parsed(setting: Setting) -> Dsn:
    try:
        return uri.parse(setting.value, f"{setting.origin}: {setting.key}")
    except ConfigurationError as error:
        # a new error: the frames of the old one hold the text, and pytest prints the arguments of frames
        raise ConfigurationError(str(error)) from None


def _missing(service: Service) -> str:
    path = service.env_file
    where = service.relative(path)
    setting = f"set {service.env_prefix}DATABASE_DSN"
    if not path.exists():
        return (
            f"{where} does not exist, so DATABASE_DSN is missing. Copy .env.example there, {setting}, or run `inv up`."
        )
    with path.open(encoding="utf-8-sig") as stream:
        keys = [binding.key for binding in parse_stream(stream) if binding.key]
    near = get_close_matches("DATABASE_DSN", keys, n=1)
    typo = f" (is {near[0]} a typo?)" if near else ""
    return f"{where}: DATABASE_DSN is missing{typo}. See .env.example, or {setting}."
