"""The packages that the library needs: which of them are missing or too old."""

import re

from service_migrations.errors import ConfigurationError

__all__ = ["installation_problem", "require"]

_LIBRARY = "service-migrations"
_REQUIREMENT = re.compile(r"([\w.-]+)\s*(\[[^]]*\])?\s*(?:>=\s*([\d.]+))?")
_MODULES = {"python-dotenv": "dotenv"}
"""The modules of packages that have another name."""
_OF_ASYNCIO = "greenlet"
"""What ``sqlalchemy[asyncio]`` adds to SQLAlchemy."""


def require(package: str) -> None:
    """Refuse a package that is too old: it may do something wrong without an error.

    Raises:
        ConfigurationError: an older version is installed than the library needs.

    """
    problem = _problem(package, _needed().get(package))
    if problem:
        raise _failure(problem)


def installation_problem(error: BaseException) -> ConfigurationError | None:
    """Return the error to raise instead of one whose cause is a package that is missing, broken or too old.

    Args:
        error: an unexpected error.

    """
    needed = _needed()
    problems = [problem for package, least in needed.items() if (problem := _problem(package, least))]
    cause: BaseException | None = error
    while cause is not None and not problems:  # SQLAlchemy raises an error of its own where greenlet is missing
        module = (cause.name or "").partition(".")[0] if isinstance(cause, ImportError) else ""
        packages = [package for package in needed if _MODULES.get(package, package) == module]
        problems = [f"{package} can't be imported ({' '.join(str(cause).split())})" for package in packages]
        cause = cause.__cause__ or cause.__context__
    return _failure("; ".join(problems)) if problems else None


def _failure(problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"{problem}.", hint=f"Install {_LIBRARY} again with its packages, such as by `uv sync` or `pip install`."
    )


def _needed() -> dict[str, str | None]:
    """Return the oldest version of each package; None for any."""
    from importlib.metadata import PackageNotFoundError, requires  # noqa: PLC0415 - most commands don't need it

    needed: dict[str, str | None] = {}
    try:
        requirements = requires(_LIBRARY) or []
    except PackageNotFoundError:  # it is run from its files, so nobody knows what it needs
        return {}
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match and "extra ==" not in requirement:
            needed[match[1].lower()] = match[3]
            needed |= {_OF_ASYNCIO: None} if "asyncio" in (match[2] or "") else {}
    return needed


def _problem(package: str, least: str | None) -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - as above

    try:
        installed = version(package)
    except PackageNotFoundError:
        return f"{package} isn't installed"
    if least is None or _numbers(installed) >= _numbers(least):
        return ""
    return f"{package} {installed} is too old, {least} is needed"


def _numbers(text: str) -> tuple[int, ...]:
    """Return the numbers at the beginning of a version."""
    match = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, match[0].split("."))) if match else ()
