"""The files below deploy, which a team copies: their commands, exit codes, settings and paths are real.

That they fit the schemas of Kubernetes, GitHub and GitLab, ``nox -s lint`` checks.
"""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from invoke.parser import ParseError

from service_migrations.settings.keys import KEYS
from tasks import namespace
from tests.support.command_lines import commands, invoke_tasks, nox_problem
from tests.support.monorepo import ROOT

FILES = sorted(path for path in ROOT.glob("deploy/**/*") if path.is_file())
PIPELINES = [path for path in FILES if path.parent.name in {"github", "gitlab"}]
PODS = [path for path in FILES if path.parent.name == "kubernetes"]
REVIEWS = [path for path in PIPELINES if path.name == "review.yml"]

LIST = re.compile(r"(?:command: |CMD )\[(.*)\]")
KEY = re.compile(r"(?:- )?(?:run: )?")
INSIDE = re.compile(r"\$\(([^()]*)\)")
PROGRAM = re.compile(r"\b(inv|nox)\b(?![:/.])")


def without_comments(path: Path) -> list[str]:
    """Return the lines of a file; a comment begins with a # at the start of a word."""
    return [re.sub(r"(^|\s)#.*", "", line).strip() for line in path.read_text(encoding="utf-8").splitlines()]


def programs(path: Path) -> Iterator[list[str]]:
    """Return the words of each command of inv and nox in a file, of a shell or as a list of YAML."""
    for line in without_comments(path):
        if not PROGRAM.search(line):
            continue
        if match := LIST.fullmatch(line):
            yield [word.strip("\" '") for word in match[1].split(",")]
            continue
        text = re.sub(r"<\([^()]*\)", "file", line[KEY.match(line).end() :])
        text = re.sub(r"^\w+=(?=\$\()", "", text)
        for part in [*INSIDE.findall(text), INSIDE.sub("", text)]:
            yield from (command for command in commands(part) if command[0] in {"inv", "nox"})


def named(program: str) -> list[tuple[str, list[str]]]:
    """Return file and words of each command of a program."""
    return [
        (str(path.relative_to(ROOT)), words[1:]) for path in FILES for words in programs(path) if words[0] == program
    ]


def tasks(path: Path) -> set[str]:
    """Return the tasks and the sessions that a file runs."""
    found = {task for words in programs(path) if words[0] == "inv" for task in invoke_tasks(words[1:])}
    return found | {words[-1] for words in programs(path) if words[0] == "nox"}


def retried() -> set[int]:
    """Return the exit codes after which a pipeline runs the command again, but for those of a signal."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|.*\| runs the command again[^|]*\|$", text, re.MULTILINE)}
    return {code for code in codes if code < 128}


def failures() -> set[int]:
    """Return the exit codes that a person has to look at."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    codes = text.partition("\n## Exit codes\n")[2].partition("\n## ")[0]
    return {int(code) for code in re.findall(r"^\| (\d+) \|", codes, re.MULTILINE) if 0 < int(code) < 128} - retried()


@pytest.mark.parametrize(("file", "words"), named("inv"), ids=lambda value: value if isinstance(value, str) else "")
def test_a_command_of_invoke_is_one_that_invoke_understands(file, words):
    try:
        asked = invoke_tasks(words)
    except ParseError as error:
        pytest.fail(f"{file}: inv {shlex.join(words)}: {error}")
    assert asked, f"{file}: inv {shlex.join(words)} names no task"
    assert set(asked) <= set(namespace.task_names), f"{file}: inv {shlex.join(words)}"


@pytest.mark.parametrize(("file", "words"), named("nox"), ids=lambda value: value if isinstance(value, str) else "")
def test_a_command_of_nox_names_sessions_that_exist(file, words):
    assert nox_problem(words) is None, f"{file}: nox {shlex.join(words)}"


@pytest.mark.parametrize("path", [*PIPELINES, *PODS, ROOT / "deploy" / "Dockerfile"], ids=lambda path: path.name)
def test_no_command_of_a_file_is_overlooked(path):
    mentioned = sum(len(PROGRAM.findall(line)) for line in without_comments(path))
    assert mentioned == len(list(programs(path))) > 0


@pytest.mark.parametrize("path", REVIEWS, ids=lambda path: path.parent.name)
def test_a_review_answers_the_five_questions_for_what_is_affected(path):
    page = (ROOT / "docs" / "reviewing.md").read_text(encoding="utf-8")
    asked = {f"db.{name}" for name in ("heads", "released", "plan", "check", "evidence", "compat", "report")}
    assert asked == set(re.findall(r"^inv (db\.\w+)", page, re.MULTILINE))
    assert tasks(path) == {*asked, "db.affected", "up", "migrations"}


@pytest.mark.parametrize("path", PODS, ids=lambda path: path.name)
def test_a_pod_is_tried_again_after_the_exit_codes_that_time_mends(path):
    text = path.read_text(encoding="utf-8")
    assert set(json.loads(re.search(r"values: (\[.*\])", text)[1])) == failures()
    container = re.search(r"^ *- name: (\w+)\n *image: ", text, re.MULTILINE)[1]
    assert re.search(r"containerName: (\w+)", text)[1] == container


def test_gitlab_tries_again_after_the_same_exit_codes():
    text = (ROOT / "deploy" / "gitlab" / "upgrade.yml").read_text(encoding="utf-8")
    assert set(json.loads(re.search(r"exit_codes: (\[.*\])", text)[1])) == retried() == {69, 75}


def test_the_job_has_as_many_pods_as_its_command_has_parts():
    text = (ROOT / "deploy" / "kubernetes" / "upgrade.yml").read_text(encoding="utf-8")
    parts = re.search(r"--shard, /(\d+)", text)[1]
    assert f"completionMode: Indexed # sets JOB_COMPLETION_INDEX, which --shard /{parts} reads\n" in text
    assert f"  completions: {parts}\n  parallelism: {parts}\n" in text


@pytest.mark.parametrize("path", PODS, ids=lambda path: path.name)
def test_a_pod_has_as_few_rights_as_it_needs(path):
    text = path.read_text(encoding="utf-8")
    for line in (
        "restartPolicy: Never",
        "automountServiceAccountToken: false",
        "runAsNonRoot: true",
        "allowPrivilegeEscalation: false",
        "readOnlyRootFilesystem: true",
        "drop: [ALL]",
        "type: RuntimeDefault",
        "action: Ignore",
        "concurrencyPolicy: Forbid" if "CronJob" in text else "action: FailIndex",
    ):
        assert re.search(rf"^ *(?:- )?{re.escape(line)}(?: #.*)?$", text, re.MULTILINE), line
    assert not re.search(r":\w+@|PASSWORD: ", text), "a password stands in the file"


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_setting_that_a_file_names_is_real(path):
    matches = re.findall(
        r"\b(?:BILLING_|IDENTITY_)?((?:DATABASE|MIGRATIONS)_[A-Z_]+)\b", path.read_text(encoding="utf-8")
    )
    assert set(matches) <= set(KEYS)


@pytest.mark.parametrize("path", [*PIPELINES, ROOT / "deploy" / "Dockerfile"], ids=lambda path: path.name)
def test_what_installs_the_library_compiles_it(path):
    assert re.search(r"UV_COMPILE_BYTECODE(: \"1\"|=1)", path.read_text(encoding="utf-8"))


def test_the_image_is_made_of_what_is_there_and_has_no_env_file():
    lines = without_comments(ROOT / "deploy" / "Dockerfile")
    copied = [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]]
    assert copied
    assert [word for word in copied if not (ROOT / word).exists() and word != "uv.lock*"] == []
    ignored = without_comments(ROOT / "deploy" / "Dockerfile.dockerignore")
    assert ignored.index("**/.env.*") < ignored.index("!**/.env.example")
    assert "**/.env" in ignored


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_page_leads_to_every_file(path):
    pages = "".join(page.read_text(encoding="utf-8") for page in ROOT.glob("docs/*.md"))
    assert f"](../{path.relative_to(ROOT).as_posix()})" in pages
