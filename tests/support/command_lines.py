"""Command lines that pages and files name, taken apart and looked up in what Invoke and nox have."""

import ast
import re
import shlex
from collections.abc import Iterator

from invoke.parser import Parser
from invoke.program import Program

from service_migrations.postgres import VERSIONS
from tests.support.invocation import contexts
from tests.support.monorepo import ROOT

__all__ = ["commands", "invoke_tasks", "nox_problem"]

NOX_FLAGS = {"--list", "--json"}
NOX_SESSION = {"-s", "--session"}
NOX_VALUES = {"-j"}
SEPARATORS = {"&&", "||", "|", ";", ">"}


def commands(line: str) -> Iterator[list[str]]:
    """Split a line of a shell into commands, without variables before them and without ``uv run``."""
    command: list[str] = []
    for word in [*shlex.split(line, comments=True), ";"]:
        if word in SEPARATORS:
            while command and re.match(r"[A-Z_0-9]+=", command[0]):
                command = command[1:]
            if command[:2] == ["uv", "run"]:
                command = command[2:]
            if command:
                yield command
            command = []
        else:
            command.append(word)


def invoke_tasks(words: list[str]) -> list[str]:
    """Parse a command line as Invoke does, and return the tasks that it names."""
    core = Parser(initial=Program().initial_context, ignore_unknown=True).parse_argv(words)
    asked = core[0].args["help"].value
    parsed = Parser(contexts=contexts()).parse_argv(core.unparsed)
    return [str(context.name) for context in parsed] + ([asked] if isinstance(asked, str) else [])


def nox_sessions() -> dict[str, set[str]]:
    """Return the sessions of noxfile.py, each with what may stand behind its name."""
    noxfile = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    pythons = re.findall(r"Python :: (\d\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    options = {}
    for function in noxfile.body:
        if isinstance(function, ast.Assign) and ast.unparse(function.value).startswith("define_"):
            name = ast.unparse(function.value).partition("(")[0].removeprefix("define_")
            options[name] = {"", *(f"(pg{version})" for version in VERSIONS)}
        if not isinstance(function, ast.FunctionDef):
            continue
        decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
        session = next((decorator for decorator in decorators if decorator.startswith("nox.session")), None)
        if session:
            other = re.search(r"name='([^']+)'", session)
            suffixes = {""}
            suffixes |= {f"-{python}" for python in pythons} if re.search(r"python=PYTHONS\b(?!\[)", session) else set()
            suffixes |= {f"(pg{version})" for version in VERSIONS} if "each_postgres" in decorators else set()
            options[other[1] if other else function.name] = suffixes
    return options


def nox_problem(words: list[str]) -> str | None:
    """Return what is wrong with a command line of nox's; what stands behind ``--`` is pytest's."""
    own = words[: words.index("--")] if "--" in words else words
    sessions = {name + suffix for name, suffixes in nox_sessions().items() for suffix in suffixes}
    rest = iter(own)
    for word in rest:
        if word in NOX_SESSION:
            name = next(rest, "")
            if name not in sessions:
                return f"there is no session {name!r}"
        elif word in NOX_VALUES:
            next(rest, None)
        elif word not in NOX_FLAGS:
            return f"{word!r} is no option that is known here"
    return None
