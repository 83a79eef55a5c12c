"""Two processes that write a revision behind the same one: at most one of them may, or the history has two heads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import service_migrations
from service_migrations.authoring import writing
from service_migrations.errors import UsageError
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import first_upgrade, models, remodel
from tests.support.database import wait
from tests.support.monorepo import Monorepo

OTHER = 'revision: str = "0ther"\ndown_revision: str | None = {}\n\n\ndef upgrade():\n    pass\n'


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("is_first", [False, True])
def test_the_one_that_sees_the_others_file_takes_its_own_back(
    monorepo: Monorepo, database: Callable[..., Dsn], monkeypatch: pytest.MonkeyPatch, empty: bool, is_first: bool
) -> None:
    service = monorepo.service("shop", models(), database())
    head = None
    if is_first:
        service.versions.mkdir(parents=True, exist_ok=True)
    else:
        first_upgrade(monorepo, service)
        remodel(monorepo, service, models("Column('more', Integer)"))
        (head,) = wait(service_migrations.history(service)).heads
    before = files(service.versions)
    other = service.versions / "other.py"
    write = writing._format
    text = OTHER.format(repr(head).replace("'", '"'))

    def meanwhile(script: object, of: object) -> None:
        other.write_text(text, encoding="utf-8")
        write(script, of)  # type: ignore[arg-type]

    monkeypatch.setattr(writing, "_format", meanwhile)
    with pytest.raises(UsageError, match=r"other\.py: another process has written it meanwhile"):
        wait(service_migrations.revision(service, "mine", empty=empty))
    assert files(service.versions) == before | {"other.py": text}


@pytest.mark.parametrize(
    "text", ["NUMBER = 5\n", OTHER.format('"elsewhere"'), OTHER.format('"x{head}"'), OTHER.format("None")]
)
def test_what_is_no_revision_behind_the_same_one_is_nobodys(
    monorepo: Monorepo, database: Callable[..., Dsn], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    service = monorepo.service("shop", models(), database())
    first_upgrade(monorepo, service)
    (head,) = wait(service_migrations.history(service)).heads
    write = writing._format

    def meanwhile(script: object, of: object) -> None:
        (service.versions / "other.py").write_text(text.replace("{head}", head), encoding="utf-8")
        write(script, of)  # type: ignore[arg-type]

    monkeypatch.setattr(writing, "_format", meanwhile)
    assert wait(service_migrations.revision(service, "mine", empty=True))


def test_of_two_processes_at_most_one_writes(monorepo: Monorepo) -> None:
    service = monorepo.service("shop")
    words = ("db.revision", "--service", "shop", "--empty", "-m", "mine")
    with ThreadPoolExecutor(2) as threads:
        runs = list(threads.map(lambda _: monorepo.inv(*words), range(2)))
    assert {run.code for run in runs} <= {0, 2}
    codes = sorted(run.code for run in runs)
    written = len(list(service.versions.glob("*.py")))
    assert (codes.count(0), len(wait(service_migrations.history(service)).revisions)) == (written, written), runs
    heads = monorepo.inv("db.heads", "--check")
    assert heads.code == 0, heads.text
