"""The variables of the environment in a team's code: texts that are made of them, and the ways to read one."""

import ast
from dataclasses import dataclass

from service_migrations.adoption.code.modules import Module, dotted, keyword

__all__ = [
    "Text",
    "Variable",
    "constant",
    "env_nested_delimiter",
    "env_prefix",
    "is_environ",
    "is_getenv",
    "is_none",
    "library_prefix",
    "literal",
    "validates",
]


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the environment, with the default that the code has for it."""

    name: str
    default: str | None = None


Text = tuple[str | Variable, ...]


def literal(text: Text | None) -> str | None:
    """Return a text without variables; None where it has some."""
    parts = [part for part in text or () if isinstance(part, str)]
    return "".join(parts) if text is not None and len(parts) == len(text) else None


def constant(node: ast.expr | None) -> str | None:
    """Return a string constant; None for another expression."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def is_none(node: ast.expr) -> bool:
    """Whether an expression is None."""
    return isinstance(node, ast.Constant) and node.value is None


def is_environ(module: Module, name: str) -> bool:
    """Whether a dotted name is ``os.environ``."""
    if name == "os.environ":
        return True
    values = module.values.get(name)
    return module.imports.get(name) == ("os", "environ") or (values is not None and dotted(values[-1]) == "os.environ")


def is_getenv(module: Module, name: str) -> bool:
    """Whether a dotted name is a function that returns a variable."""
    if name in ("os.getenv", "os.environ.get", "os.environ.setdefault"):
        return True
    owner, _, method = name.rpartition(".")
    return module.imports.get(name) == ("os", "getenv") or (method == "get" and is_environ(module, owner))


def validates(function: ast.FunctionDef, name: str) -> bool:
    """Whether a function is pydantic's validator of a field."""
    return any(
        isinstance(decorator, ast.Call)
        and (dotted(decorator.func) or "").endswith("validator")
        and name in [constant(argument) for argument in decorator.args]
        for decorator in function.decorator_list
    )


def env_prefix(owner: ast.ClassDef) -> str:
    """Return ``env_prefix`` of a class of settings."""
    return _option(owner, "env_prefix")


def env_nested_delimiter(owner: ast.ClassDef) -> str:
    """Return ``env_nested_delimiter`` of a class of settings: ``__`` in ``DB__URL``, of ``settings.db.url``."""
    return _option(owner, "env_nested_delimiter")


def _option(owner: ast.ClassDef, name: str) -> str:
    for node in ast.walk(owner):
        if isinstance(node, ast.keyword) and node.arg == name:
            return constant(node.value) or ""
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if constant(key) == name:
                    return constant(value) or ""
        if isinstance(node, ast.Assign) and [dotted(target) for target in node.targets] == [name]:
            return constant(node.value) or ""
    return ""


def library_prefix(call: ast.Call, module: Module) -> str | None:
    """Return what stands before the name of a variable that environs or starlette reads; None where it is computed.

    It is an argument of the object, as in ``Config(env_prefix="A_")``, or of a block: ``with env.prefixed("A_")``.
    """
    root = (dotted(call.func) or "").partition(".")[0]
    made = [value for value in module.values.get(root, []) if isinstance(value, ast.Call)]
    parts = [keyword(value, "env_prefix", "prefix") for value in made[-1:]]
    for block in module.nodes:
        if isinstance(block, ast.With) and any(node is call for node in ast.walk(block)):
            parts += [
                next(iter(item.context_expr.args), None)
                for item in block.items
                if isinstance(item.context_expr, ast.Call)
                and (dotted(item.context_expr.func) or "").endswith(".prefixed")
            ]
    texts = [constant(part) for part in parts if part is not None]
    return None if None in texts else "".join(text for text in texts if text)
