"""Whoever calls a public function can also name the types of what it takes and returns."""

import dataclasses
import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterator

import pytest
from sqlalchemy import URL

import service_migrations

PACKAGE = service_migrations.__name__
EVERY_NAME: dict[str, object] = {"URL": URL}
"""What a hint behind ``TYPE_CHECKING`` may name."""


@pytest.fixture(scope="module", autouse=True)
def every_name() -> None:
    """Import the modules of the package: their types are the names that a hint may have."""
    for module in pkgutil.walk_packages(service_migrations.__path__, f"{PACKAGE}."):
        if {"templates", "testing", "unselected", "nox"} & set(module.name.split(".")):
            continue  # they are for Alembic, pytest and nox, and no public function is in them
        names = vars(importlib.import_module(module.name))
        EVERY_NAME.update({name: value for name, value in names.items() if isinstance(value, type)})


def callables(public: object) -> Iterator[object]:
    """Yield what has hints: a function, or a class with its public methods and properties."""
    if inspect.isfunction(public):
        yield public
    elif inspect.isclass(public):
        if dataclasses.is_dataclass(public):
            yield public
        for name, member in vars(public).items():
            member = member.fget if isinstance(member, property) else getattr(member, "__func__", member)  # noqa: PLW2901
            if not name.startswith("_") and inspect.isfunction(member):
                yield member


def types_in(hint: object) -> Iterator[type]:
    """Yield the classes in a type hint."""
    if isinstance(hint, type) and not typing.get_args(hint):
        yield hint
    for argument in typing.get_args(hint):
        for part in argument if isinstance(argument, list) else [argument]:
            yield from types_in(part)


def private_types(public: object) -> set[str]:
    """Return the types of this package in a public signature that aren't public themselves."""
    hints: list[object] = [public]  # which is an alias, such as Step, where it is no function and no class
    for member in callables(public):
        hints += typing.get_type_hints(member, localns=EVERY_NAME).values()
    ours = {part for hint in hints for part in types_in(hint) if part.__module__.partition(".")[0] == PACKAGE}
    return {
        f"{part.__module__}.{part.__qualname__}"
        for part in ours
        if getattr(service_migrations, part.__name__, None) is not part
    }


@pytest.mark.parametrize("name", service_migrations.__all__)
def test_every_type_in_a_public_signature_is_public(name: str) -> None:
    assert private_types(getattr(service_migrations, name)) == set()
