"""The Markdown for a pull request: complete, safe, and short enough for a comment."""

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from service_migrations.errors import UnreachableError
from service_migrations.evidence.files import Committed
from service_migrations.plan.review import PlanFinding, PlannedRevision
from service_migrations.report.changes import TableChanges
from service_migrations.report.markdown import MARKER, markdown
from service_migrations.report.mermaid import entity_changes
from service_migrations.report.upcoming import Upcoming
from tests.support.reports import figures

COMMENT = 65_536
"""The characters that GitHub takes for a comment."""
HOSTILE = "a|b `c` <script>*x*</script> @everyone #12 [l](http://x.y) $m$ ``` \n# h"


def planned(name: str, message: str = "Do it.", sql: str = "", findings: Sequence[PlanFinding] = ()) -> PlannedRevision:
    return PlannedRevision(name, message, f"v/{name}.py", sql, ("additive",), tuple(findings))


def of(service: str, *revisions: PlannedRevision, **options: object) -> Upcoming:
    changes = TableChanges().apply(each.sql for each in revisions)
    return Upcoming(service, f"{service} is at base", revisions, changes=changes, **options)  # type: ignore[arg-type]


def test_a_pending_revision_has_its_classes_measured_locks_and_tables() -> None:
    measured = {"14": {"upgrade": figures(1.5)}, "18": {"upgrade": figures(0.2)}}
    evidence = {"r1": Committed("", 500, measured, is_current=True)}
    text = markdown([of("billing", planned("r1", sql="ALTER TABLE pets ADD age int"), evidence=evidence)])
    assert text.startswith(f"{MARKER}\n")
    assert "1 revision of 1 service is upcoming." in text
    row = "| <code>r1</code> | Do it. | additive | ACCESS EXCLUSIVE on invoices for 1.5 s"
    row += ", rewrites invoices (PostgreSQL 14, 500 rows) | 1.5 s |"
    assert row in text
    assert '```mermaid\nerDiagram\n  t0["pets"] {\n    int age "added"\n  }\n```' in text


@pytest.mark.parametrize(
    ("committed", "cell"),
    [
        (None, "not measured"),
        (
            Committed("", 5, {"14": {"upgrade": figures(1)}}, is_current=False),
            "outdated: the revision was edited since",
        ),
        (Committed("", 5, {"14": {"upgrade": figures(1, "broken")}}, is_current=True), "failed on PostgreSQL 14"),
        (Committed("", 5, {"14": {"downgrade": figures(1)}}, is_current=True), "not measured"),
    ],
)
def test_what_was_not_measured_says_so(committed: Committed | None, cell: str) -> None:
    evidence = {"r1": committed} if committed else {}
    assert f"| additive | {cell}" in markdown([of("billing", planned("r1"), evidence=evidence)])


def test_no_name_can_be_anything_but_text() -> None:
    finding = PlanFinding("rule", HOSTILE, path=f"x/{HOSTILE}", line=3)
    sql = 'ALTER TABLE "t""];\n```" ADD COLUMN "c"" } x" "ty"" pe(1,2)" REFERENCES "%%{init}```"'
    text = markdown([
        of("billing", planned("r`1", HOSTILE, sql, [finding])),
        Upcoming("orders", "", problem=UnreachableError(HOSTILE)),
    ])  # fmt: skip
    assert "<script" not in text
    assert "@" not in text
    assert "http://" not in text
    assert text.count("```") == 2
    table = [line for line in text.splitlines() if line.startswith("| <code>")]
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in table] == [6]
    prose = "".join(text.split("```")[::2])
    assert not re.search(r"(?<!\\)[`*\[](?![*])(?!\*)", prose.replace("**", ""))
    diagram = text.split("```")[1].splitlines()[2:]
    attribute = re.compile(r'    [A-Za-z_][\w()\[\]-]* [A-Za-z_][\w()\[\]-]*( PK| FK)?( "[^"]*")?')
    entity = re.compile(r'  t\d+\["[\w .,:()/+=_-]*"\]( \{)?|  \}|  t\d \|\|--o\{ t\d : "[^"`%{}<>;]*"')
    assert [line for line in diagram if not attribute.fullmatch(line) and not entity.fullmatch(line)] == []


def test_a_comment_always_has_room() -> None:
    long = [PlanFinding("rule", "x" * 400)] * 40
    columns = ", ".join(f"column_{number} text" for number in range(40))
    many = [planned(f"r{number}", "m" * 400, f"CREATE TABLE t{number} ({columns})", long) for number in range(30)]
    first = of("first", *many)
    found = [replace(first, service=f"service{number}") for number in range(40)]
    found += [Upcoming(f"down{number}", "", problem=UnreachableError("e" * 900)) for number in range(300)]
    found += [Upcoming(f"quiet{number}", "") for number in range(300)]
    text = markdown(found)
    assert 30_000 < len(text) < COMMENT
    assert "The diagram of its tables is left out" in text
    assert "Left out, as a comment has no more room:" in text
    assert re.search(r"and \d+ more\.\n$", text)
    assert "1200 revisions of 40 services are upcoming." in text


def test_a_service_that_is_not_known_has_its_reason() -> None:
    text = markdown([Upcoming("billing", "", problem=UnreachableError("it is down")), Upcoming("orders", "")])
    assert "**Not known:** 1 of 2 services" in text
    assert "- <code>billing</code>: it is down" in text
    assert "Nothing is upcoming for <code>orders</code>." in text


def test_a_column_whose_name_is_no_word_of_mermaid_has_its_name_in_the_text() -> None:
    sql = 'ALTER TABLE t ADD "PK" int, ADD "1a" int, ADD "\u00fc" int, ADD "end" numeric(3, 1)'
    assert entity_changes(TableChanges().apply([sql])).splitlines()[2:6] == [
        '    int _PK "PK added"',
        '    int _1a "1a added"',
        '    int _ "\u00fc added"',
        '    numeric end "added"',
    ]


def test_no_diagram_is_drawn_where_no_table_changes() -> None:
    assert entity_changes(TableChanges().apply(["CREATE INDEX ON pets (id)", "SELECT 1"])) == ""
    assert "mermaid" not in markdown([of("billing", planned("r1", sql="SELECT 1"))])
