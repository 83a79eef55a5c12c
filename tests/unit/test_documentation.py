"""The pages against the program: what they name exists, and what exists is named."""

import ast
import inspect
import re
import shlex
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from invoke.parser import ParseError

import service_migrations
from service_migrations import errors
from service_migrations.monorepo import discover
from service_migrations.postgres import VERSIONS
from service_migrations.postgres.throwaway import _variable
from service_migrations.session import locks
from service_migrations.settings.keys import KEYS
from tasks import namespace
from tests.support.command_lines import commands, invoke_tasks, nox_problem
from tests.support.monorepo import ROOT

PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")] + sorted(ROOT.glob("docs/*.md"))
EXAMPLE = "shipping"
"""The service that docs/a-new-service.md makes; it is not on disk."""

SIGNALS = {129, 130, 143}

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<body>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SETTING = re.compile(r"(?<![A-Za-z])[A-Z0-9_]*(?:DATABASE|MIGRATIONS|POSTGRES)_[A-Z0-9_]+\b")
REGISTRIES = re.compile(r"pypi|pythonhosted|npmjs|npmmirror|yarnpkg|proxy\.golang|crates\.io|registry|index\.docker")
PATH = re.compile(r"(?:[\w.<>-]+/)*[\w.<>-]+\.(?:py|toml|md|mako|yml|example)|(?:[\w.-]+/)+")


def shell_lines(text: str) -> list[str]:
    """Return the lines of fenced sh blocks, and inline code that begins with inv or nox."""
    lines = [line for fence in FENCE.finditer(text) if fence["language"] == "sh" for line in fence["body"].splitlines()]
    inline = [" ".join(code.split()) for code in CODE.findall(FENCE.sub("", text))]
    return lines + [code for code in inline if re.match(r"(uv run )?(inv|nox)( |$)", code)]


def named(program: str) -> list[tuple[str, list[str]]]:
    """Return page and words of each command of a program that the pages name."""
    return [
        (page.name, command[1:])
        for page in PAGES
        for line in shell_lines(page.read_text(encoding="utf-8"))
        for command in commands(line)
        if command[0] == program
    ]


def settings_in(text: str) -> set[str]:
    """Return the settings that a text names, without the name of a service in front."""
    prefixes = tuple(service.env_prefix for service in discover())
    found = set()
    for name in SETTING.findall(text):
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        found.add(name.removeprefix(prefix))
    return found


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its head."""
    text = (ROOT / page).read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_two_commands_of_the_readme_come_first():
    block = FENCE.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert block
    found = [command for line in block["body"].splitlines() for command in commands(line)]
    assert found == [["pip", "install", "uv"], ["inv", "up"], ["pip", "install", "uv"], ["nox"]]


@pytest.mark.parametrize(("page", "words"), named("inv"), ids=lambda value: value if isinstance(value, str) else "")
def test_a_command_of_invoke_in_the_pages_is_one_that_invoke_understands(page, words):
    try:
        tasks = invoke_tasks(words)
    except ParseError as error:
        pytest.fail(f"{page}: inv {shlex.join(words)}: {error}")
    unknown = set(tasks) - set(namespace.task_names)
    assert not unknown, f"{page}: inv {shlex.join(words)}"


@pytest.mark.parametrize(("page", "words"), named("nox"), ids=lambda value: value if isinstance(value, str) else "")
def test_a_command_of_nox_in_the_pages_names_sessions_that_exist(page, words):
    assert nox_problem(words) is None, f"{page}: nox {shlex.join(words)}"


@pytest.mark.parametrize("words", [["db.nope"], ["db.upgrade", "--sqll"], ["db.upgrade", "billing"], ["--lisst"]])
def test_a_wrong_command_of_invoke_would_be_noticed(words):
    with pytest.raises(ParseError):
        invoke_tasks(words)


def test_a_wrong_command_of_nox_would_be_noticed():
    assert nox_problem(["-s", "tests"]) is None
    assert nox_problem(["-s", f"migrations(pg{VERSIONS[0]})", "--", "--any", "-k", "thing"]) is None
    for words in (["-s", "test"], ["-s", "migrations(pg13)"], ["-s", "lint-3.13"], ["-s"], ["--lisst"]):
        assert nox_problem(words)


def test_commands_are_found_behind_variables_pipes_and_prompts_of_uv():
    line = "A_B=c uv run inv db.check --json | jq . && inv up > x; uv run nox # nox -s no"
    assert list(commands(line.replace(";", " ;"))) == [
        ["inv", "db.check", "--json"],
        ["jq", "."],
        ["inv", "up"],
        ["x"],
        ["nox"],
    ]
    assert shell_lines("`inv up` and\n```sh\ninv down\n```\n`invoke` ```py\n```") == ["inv down", "inv up"]


def test_the_page_of_the_tasks_names_each_in_its_table():
    first_cells = [row[0] for row in rows("docs/tasks.md", "All tasks")]
    assert sorted(first_cells) == sorted(f"`inv {name}`" for name in namespace.task_names)


def test_the_readme_names_every_task_by_its_purpose():
    cells = " ".join(row[1] for row in rows("README.md", "Tasks"))
    assert sorted(set(re.findall(r"`inv ([\w.]+)", cells))) == sorted(namespace.task_names)


def test_the_page_of_the_tasks_tells_which_take_one_service_and_which_take_all():
    for name, services, *_ in rows("docs/tasks.md", "All tasks"):
        source = inspect.getsource(namespace[name.strip("`").removeprefix("inv ")].body.__wrapped__)
        expected = "one" if "exactly_one(" in source else "all" if "service: list[str]" in source else ""
        assert services == expected, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_setting_that_a_page_names_is_real(page):
    others = {"MIGRATIONS_ROOT", "MIGRATIONS_ENV", "MIGRATIONS_ENV_FILE", "POSTGRES_SOURCES", "POSTGRES_VERSION"}
    of_a_team = {f"POSTGRES_{part}" for part in ("USER", "PASSWORD", "HOST", "PORT", "DB")} | {"DATABASE_URL"}
    real = {*KEYS, *others, *of_a_team, *(_variable(version) for version in VERSIONS)}
    assert settings_in(page.read_text(encoding="utf-8")) <= real


def test_a_wrong_setting_would_be_noticed():
    text = "`BILLING_DATABASE_DSN`, `XDATABASE_DSN`, `DATABASE_URL`, `POSTGRES_13_DSN`, <S>_MIGRATIONS_X"
    assert settings_in(text) == {"DATABASE_DSN", "XDATABASE_DSN", "DATABASE_URL", "POSTGRES_13_DSN", "_MIGRATIONS_X"}


def test_the_table_of_settings_has_every_key_with_its_default():
    table = {row[0].strip("`"): row[1].strip("`") or None for row in rows("docs/operations.md", "Settings")}
    assert table == dict(KEYS)


def test_env_example_documents_every_key_and_no_other():
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    found = {}
    for before, line in zip(["", *lines], lines, strict=False):
        if match := re.match(r"#?([A-Z][A-Z_]+)=(.*)", line):
            found[match[1]] = match[2]
            assert before.startswith("# "), f"{match[1]} has no comment above it"
    assert list(found) == list(KEYS)
    assert {key: found[key] for key, default in KEYS.items() if default is not None} == {
        key: default for key, default in KEYS.items() if default is not None
    }


def test_the_lowest_versions_in_the_pages_are_those_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    lines = [*project["project"]["dependencies"], *groups["nox"]]
    lines += [line for line in groups["tests"] if str(line).startswith("pytest>")]
    floors = {name.partition("[")[0]: floor for name, _, floor in (line.partition(">=") for line in lines)}
    assert {row[0]: row[1] for row in rows("docs/your-own-repository.md", "Versions")} == floors


def test_the_exit_codes_in_operations_are_those_of_the_errors():
    table = [int(row[0]) for row in rows("docs/operations.md", "Exit codes")]
    kinds = [value for name in errors.__all__ if isinstance(value := getattr(errors, name), type)]
    assert table == sorted({0, *(kind.exit_code for kind in kinds), *SIGNALS})


def test_the_order_of_exit_codes_in_operations_is_the_real_one():
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    match = re.search(r"it is the most serious: ([\d, ]+)\.", text)
    assert match
    assert tuple(int(code) for code in match[1].split(", ")) == errors._WORST_FIRST


def test_the_published_key_of_the_lock_is_the_real_one():
    keys = {key for page in PAGES for key in re.findall(r"\b\d{19}\b", page.read_text(encoding="utf-8"))}
    assert keys == {str(locks.LOCK_KEY)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_function_of_the_library_that_a_page_calls_is_public(page):
    called = set(re.findall(r"\b(?:service_)?migrations\.(\w+)\(", page.read_text(encoding="utf-8")))
    assert called <= set(service_migrations.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_relative_link_leads_somewhere(page):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if urlsplit(link).scheme:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), f"{link} leads nowhere"
        assert target.is_relative_to(ROOT)
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_file_that_a_page_names_is_there(page):
    for code in CODE.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if not PATH.fullmatch(code) or "<" in code or EXAMPLE in code or code.startswith(".postgres"):
            continue
        patterns = (code, f"*/{code}", f"services/*/{code}")
        assert any(list(ROOT.glob(pattern)) for pattern in patterns), code


def test_every_room_of_the_library_has_one_line_in_the_map():
    text = (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")
    library = ROOT / "service_migrations"
    rooms = [f"{path.name}/" for path in library.iterdir() if path.is_dir() and not path.name.startswith("__")]
    files = [path.name for path in library.glob("*.py") if path.name not in ("__init__.py", "__main__.py")]
    lines = re.findall(r"^\| `service_migrations/([\w.]+/?)` \|", text, re.MULTILINE)
    assert sorted(lines) == sorted([*rooms, *files])


@pytest.mark.parametrize("page", [*PAGES, ROOT / ".env.example"], ids=lambda page: page.name)
def test_no_page_has_the_address_of_a_package_registry(page):
    for address in re.findall(r"https?://[^\s)>`\"]+", page.read_text(encoding="utf-8")):
        assert not REGISTRIES.search(urlsplit(address).netloc), address


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_revision_that_a_page_names_is_in_a_history(page):
    known = {path.name.split("_")[2] for path in ROOT.glob("migrations/versions/*/*.py")} | {"0" * 12}
    assert set(re.findall(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12}\b", page.read_text(encoding="utf-8"))) <= known


def test_the_newest_entry_of_the_changelog_is_the_version_of_the_project():
    newest = re.search(r"^## \[([\d.]+)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest
    assert f'version = "{newest[1]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


NO_SERVER = {31, 33}
"""Faults that are over before a server is asked, so that no version of it matters."""


def listed(name: str) -> list[Path]:
    """Return the tests that a constant of noxfile.py lists for a session."""
    noxfile = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    lists = [node for node in noxfile.body if isinstance(node, ast.Assign) and name in ast.unparse(node.targets)]
    return [ROOT / path for path in ast.literal_eval(lists[0].value)]


def every_postgres() -> list[Path]:
    """Return what the session ``faults`` runs on every PostgreSQL."""
    return listed("EVERY_POSTGRES")


@pytest.mark.parametrize("name", ["BOTH_DRIVERS", "EVERY_POSTGRES", "LOWEST", "NEWEST", "TEXTS"])
def test_what_a_session_runs_exists(name: str) -> None:
    assert [path for path in listed(name) if not path.exists()] == []


def test_every_fault_in_the_docs_names_a_test_that_runs_on_every_postgresql() -> None:
    """The test's docstring names the row in its turn; so neither can be forgotten."""
    table = [(int(row[0]), row[-1].strip("`")) for row in rows("docs/operations.md", "Faults")]
    assert {number for number, _ in table} == set(range(1, 47))
    assert table == sorted(table, key=lambda row: row[0])
    written = {
        node.name: (path, ast.get_docstring(node) or "")
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }
    for number, name in table:
        path, docstring = written[name]
        if number not in NO_SERVER:
            assert any(path.is_relative_to(place) for place in every_postgres()), f"{name} runs on one PostgreSQL only"
            said = re.match(r"Rows? (\d+)(?: and (\d+))?:", docstring)
            assert said, name
            assert str(number) in said.groups(), f"{name} says that it is of another row than {number}"
