"""The command: its files, its Markdown of databases and of a branch, and what it refuses."""

import json
import os
import re
import stat
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from service_migrations.history.files.fingerprint import hashes
from service_migrations.report.markdown import MARKER
from service_migrations.settings.dsn import Dsn
from tests.support.git import commit, git, three_services
from tests.support.monorepo import Monorepo
from tests.support.reports import figures

ADDED = 'op.add_column("alpha", sa.Column("phone", sa.String(20)))'
DROPPED = 'op.drop_column("alpha", "phone")'


class Texts(HTMLParser):
    """The texts of a page's first table, cell by cell."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr" and ("class", "service") in attrs:
            self.rows.append([])
        self.inside = tag in ("td", "th", "span", "code") and bool(self.rows)
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "tr"

    def handle_data(self, data: str) -> None:
        if self.inside and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


def rows(path: Path) -> dict[str, list[str]]:
    parser = Texts()
    parser.feed(path.read_text(encoding="utf-8").partition("</tbody>")[0])
    return {row[0]: row[1:] for row in parser.rows}


def upgraded(monorepo: Monorepo, dsn: Dsn) -> Monorepo:
    monorepo.service("alpha", dsn=dsn)
    monorepo.table_revision("alpha", "r1", None)
    ran = monorepo.inv("db.upgrade")
    assert ran.code == 0, ran.text
    return monorepo


def evidence(monorepo: Monorepo, revision: Path) -> None:
    folder = monorepo.root / "migrations" / "evidence" / "alpha"
    folder.mkdir(parents=True, exist_ok=True)
    measured = {"18": {"upgrade": figures(0.25)}}
    content = {"fingerprint": hashes(revision).fingerprint, "rows": 77, "measured": measured}
    (folder / f"{revision.stem}.json").write_text(json.dumps(content), encoding="utf-8")


def test_pending_revisions_are_printed_with_classes_locks_and_tables(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    upgraded(monorepo, database())
    evidence(monorepo, monorepo.revision("alpha", "r2", "r1", ADDED, DROPPED))
    ran = monorepo.inv("db.report", "--markdown")
    assert (ran.code, ran.err) == (0, ""), ran.text
    assert ran.out.startswith(f"{MARKER}\n## Migrations\n")
    assert re.search(r"^\S+&#64;\S+ is at r1, 1 upcoming\.$", ran.out, re.MULTILINE)
    row = "| <code>r2</code> | r2. | additive | ACCESS EXCLUSIVE on invoices for 250 ms"
    assert f"{row}, rewrites invoices (PostgreSQL 18, 77 rows) | 250 ms |" in ran.out
    assert '  t0["alpha"] {\n    varchar(20) phone "added"\n  }\n```' in ran.out
    (monorepo.root / "services" / "alpha" / ".env").unlink()
    ran = monorepo.inv("db.report", "--markdown")
    assert ran.code == monorepo.inv("db.status").code != 0
    assert "**Not known:** 1 of 1 services" in ran.out


FIGURES = ("error", "strongest", "at_ten_million")


@pytest.mark.parametrize(
    "measured",
    [
        None,
        [],
        {"18": []},
        {"18": {"upgrade": {}}},
        {"18": {"upgrade": {**figures(0.25), "strongest": 1}}},
        {"18": {"upgrade": {**figures(0.25), "strongest": {"mode": "SHARE"}}}},
        {"18": {"upgrade": {**figures(0.25), "seconds": "0.25"}}},
        {"18": {"upgrade": {**figures(0.25), "rewrites": None}}},
        *({"18": {"upgrade": {key: figures(0.25)[key] for key in figures(0.25) if key != left}}} for left in FIGURES),
    ],
)
def test_a_measurement_that_somebody_has_edited_is_none(
    monorepo: Monorepo, database: Callable[..., Dsn], measured: object
) -> None:
    upgraded(monorepo, database())
    revision = monorepo.revision("alpha", "r2", "r1", ADDED, DROPPED)
    evidence(monorepo, revision)
    (path,) = (monorepo.root / "migrations" / "evidence" / "alpha").iterdir()
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"measured": measured}), encoding="utf-8")
    breaks = {"fingerprint": hashes(revision).fingerprint, "commit": "5eed", "breaks": [5]}
    path.with_suffix(".compat.json").write_text(json.dumps(breaks), encoding="utf-8")
    for words in (("db.report", "--markdown"), ("db.report", "--html", "report.html"), ("db.plan",)):
        ran = monorepo.inv(*words)
        assert (ran.code, "Traceback" in ran.text) == (0, False), ran.text


def test_new_revisions_of_a_branch_need_no_database(monorepo: Monorepo) -> None:
    repo = three_services(monorepo)
    repo.revision("alpha", "r2", "r1", ADDED, DROPPED)
    repo.revision("alpha", "r3", "r2", 'op.drop_column("alpha", "name")', ADDED)
    commit(repo)
    ran = repo.inv("db.report", "--markdown", "comment.md", "--base", "main")
    assert (ran.code, ran.out, ran.err) == (0, "", "Written: comment.md\n")
    text = (repo.root / "comment.md").read_text(encoding="utf-8")
    assert "since main, 2 upcoming." in text
    assert re.findall(r"^\| <code>(\w+)</code> \| \w+\. \| ([\w, ]+) \|", text, re.MULTILINE) == [
        ("r2", "additive"),
        ("r3", "breaking, destructive"),
    ]
    assert '    varchar(20) phone "added"\n    column name "dropped"\n' in text
    assert "Nothing is upcoming for <code>beta</code>, <code>gamma</code>." in text
    git(repo, "checkout", "--quiet", "main")
    assert "Nothing is upcoming." in repo.inv("db.report", "--markdown", "--base", "main").out


def test_a_revision_that_was_only_moved_or_formatted_is_not_upcoming(monorepo: Monorepo) -> None:
    repo = three_services(monorepo)
    folder = repo.root / "migrations" / "versions" / "alpha"
    (folder / "r1.py").rename(folder / "2026_r1.py")
    path = folder.parent / "beta" / "r1.py"
    path.write_text(path.read_text(encoding="utf-8").replace("    op.", "    # more\n    op."), encoding="utf-8")
    for is_committed in (False, True):
        if is_committed:
            commit(repo)
        assert "Nothing is upcoming." in repo.inv("db.report", "--markdown", "--base", "main").out
        measured = repo.inv("db.evidence", "--affected", "--base", "main")
        assert measured.out == "nothing to measure: no revision is affected\n", measured.text
    path.write_text(path.read_text(encoding="utf-8").replace("50", "60"), encoding="utf-8")
    text = repo.inv("db.report", "--markdown", "--base", "main").out
    assert "since main, 1 upcoming." in text
    assert "Nothing is upcoming for <code>alpha</code>, <code>gamma</code>." in text
    path.write_text("def broken(:\n", encoding="utf-8")
    assert "**Not known:**" in repo.inv("db.report", "--markdown", "--base", "main").out


def test_without_any_settings_the_page_has_histories_and_models(monorepo: Monorepo) -> None:
    for name in ("alpha", "beta"):
        monorepo.service(name)
        monorepo.table_revision(name, "r1", None)
    monorepo.revision("beta", "r2", "r1")
    monorepo.revision("beta", "r3", "r1")
    ran = monorepo.inv("db.report", "--html", "report.html")
    assert ran.code == monorepo.inv("db.status").code != 0
    printed_rows = rows(monorepo.root / "report.html")
    assert printed_rows["alpha"][0] == "no settings"
    assert "DATABASE_DSN is missing" in printed_rows["alpha"][1]
    assert "2 heads" in printed_rows["beta"][1]
    text = (monorepo.root / "report.html").read_text(encoding="utf-8")
    assert text.count('<g class="entity') == 2
    data = [json.loads(match) for match in re.findall(r'application/json" id="data-\d">(.*?)</script>', text)]
    assert [len(each["revisions"]) for each in data] == [1, 3]
    assert [each["heads"] for each in data] == [[0], [0, 1]]


def test_models_that_fail_are_named_on_the_page(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    upgraded(monorepo, database())
    (monorepo.root / "services" / "alpha" / "models.py").write_text("raise RuntimeError('broken')\n", encoding="utf-8")
    ran = monorepo.inv("db.report", "--html", "report.html")
    assert ran.code == 0, ran.text
    text = (monorepo.root / "report.html").read_text(encoding="utf-8")
    assert re.search(r'<p class="problem">[^<]*broken', text)
    assert rows(monorepo.root / "report.html")["alpha"][1] == "at head"
    (monorepo.root / "services" / "alpha" / ".env").unlink()
    monorepo.inv("db.report", "--html", "report.html")
    text = (monorepo.root / "report.html").read_text(encoding="utf-8")
    assert re.search(r'<p class="problem">[^<]*broken', text)


def test_a_file_is_replaced_as_a_whole_and_a_link_is_followed(monorepo: Monorepo) -> None:
    monorepo.service("alpha")
    target = monorepo.root / "there.html"
    target.write_text("old", encoding="utf-8")
    target.chmod(0o640)
    (monorepo.root / "link.html").symlink_to("there.html")
    monorepo.inv("db.report", "--html", "link.html")
    assert (monorepo.root / "link.html").is_symlink()
    assert target.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert not [path.name for path in monorepo.root.iterdir() if path.name.startswith(".there")]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "db.report needs --html FILE, or --markdown."),
        (("--html", "services"), "services can't be written: it is a directory."),
        (("--html", "none/report.html"), "none/report.html can't be written: No such file or directory."),
        (("--html", os.devnull), f"{os.devnull} can't be written: it is no ordinary file."),
        (("--markdown", "tasks.py/x"), "tasks.py/x can't be written: Not a directory."),
        (("--html", "a.html", "--base", "main"), "--base says what --markdown is of."),
        (("--markdown", "--drift"), "--drift is shown by the page."),
        (("--markdown", "--base", "nope"), "is no checkout of git"),
    ],
)
def test_wrong_use_is_one_line(monorepo: Monorepo, words: tuple[str, ...], text: str) -> None:
    monorepo.service("alpha")
    ran = monorepo.inv("db.report", *words)
    assert (ran.code, ran.out) == (2, ""), ran.text
    assert text in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_database_ahead_of_the_code_is_shown_with_its_ledger_and_tables(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    upgraded(monorepo, database())
    ahead = monorepo.revision("alpha", "r2", "r1", 'op.execute("CREATE TABLE only_ahead (id int)")')
    assert monorepo.inv("db.upgrade").code == 0
    ahead.unlink()
    ran = monorepo.inv("db.report", "--html", "report.html")
    assert ran.code == 3, ran.text
    page = (monorepo.root / "report.html").read_text(encoding="utf-8")
    assert "only_ahead" in page
    assert "the database wasn't read" not in page
    assert any("@" in cell for cell in rows(monorepo.root / "report.html")["alpha"])  # by whom it was run


def test_the_page_and_the_markdown_are_never_one_file(monorepo: Monorepo) -> None:
    monorepo.service("alpha")
    for base in ((), ("--base", "")):
        ran = monorepo.inv("db.report", "--html", "r", "--markdown", "./r" if not base else "m", *base)
        assert (ran.code, len(ran.err.splitlines())) == (2, 1), ran.text
    assert not (monorepo.root / "r").exists()
