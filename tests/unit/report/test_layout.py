"""Where things are in a picture: lanes of a history, boxes and lines of tables, marks of a time line."""

import re
import sys
from datetime import timedelta
from itertools import combinations

import pytest

from service_migrations.errors import ConfigurationError
from service_migrations.report.diagram import Diagram, diagram, short_type
from service_migrations.report.lanes import Line, lanes
from service_migrations.report.layout import EXTRA, is_installed, layered
from service_migrations.report.model import Attribute, Entity, Reference, ReportedDatabase
from service_migrations.report.timeline import WIDTH, timeline
from tests.support.reports import MADE, chain, entry, reported, revision


def drawn(tables: int, *keys: tuple[int, int]) -> Diagram:
    entities = tuple(
        Entity(f"t{number}", "billing", tuple(Attribute(f"c{at}", "integer") for at in range(number % 5 + 1)))
        for number in range(tables)
    )
    references = tuple(Reference(f"t{first}", ("c0",), f"t{second}", ("c0",)) for first, second in keys)
    drawing = diagram(ReportedDatabase("shop", "", ("billing",), entities, references))
    assert drawing
    return drawing


@pytest.fixture
def _without_igraph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "igraph", None)


@pytest.mark.usefixtures("_without_igraph")
def test_a_chain_is_one_lane_and_needs_no_layout() -> None:
    assert not is_installed()
    placed = lanes(chain(3)[::-1])
    assert placed
    assert (placed.count, placed.rows) == (1, (0, 0, 0))
    assert placed.lines == (Line(0, 1, False, ()), Line(1, 2, False, ()))


def test_branches_have_lanes_of_their_own_and_a_wait_is_a_line_too() -> None:
    revisions = (revision("m", "a", "b"), revision("a", "root"), revision("b", "root", depends_on=("other",)))
    revisions += (revision("root"), revision("other"))
    placed = lanes(revisions)
    assert placed
    assert placed.count > 1
    assert placed.rows[1] != placed.rows[2]
    assert [(line.start, line.end, line.waits) for line in placed.lines] == [
        *((0, 1, False), (0, 2, False), (1, 3, False), (2, 3, False), (2, 4, True)),
    ]
    for line in placed.lines:
        assert len(line.bends) == line.end - line.start - 1
        between = placed.rows[line.start + 1 : line.end]
        assert all(lane != row for lane, row in zip(line.bends, between, strict=True)), "a line passes no revision"


@pytest.mark.usefixtures("_without_igraph")
def test_without_igraph_there_is_no_picture_and_the_error_names_the_extra() -> None:
    assert lanes((revision("m", "a", "b"), revision("a"), revision("b"))) is None
    table = Entity("t", "billing")
    assert diagram(ReportedDatabase("shop", "", (), (table,))) is None
    with pytest.raises(ConfigurationError, match=re.escape(EXTRA)):
        layered(1, [])


@pytest.mark.parametrize(
    "keys",
    [
        (),
        ((0, 1), (1, 2), (0, 2), (3, 3)),
        ((0, 1), (1, 0), (1, 2), (2, 0)),
        ((2, 0), (3, 0), (4, 0), (5, 4), (5, 0), (6, 5), (6, 0), (7, 8), (8, 7)),
        tuple((number, (number * 7 + 3) % 25) for number in range(25)),
    ],
)
def test_no_table_covers_another_and_every_key_has_its_line(keys: tuple[tuple[int, int], ...]) -> None:
    drawing = drawn(25, *keys)
    for first, second in combinations(drawing.boxes, 2):
        apart = (
            first.x + first.width <= second.x
            or second.x + second.width <= first.x
            or first.y + first.height <= second.y
            or second.y + second.height <= first.y
        )
        assert apart, (first, second)
    assert all(box.x >= 0 and box.x + box.width <= drawing.width for box in drawing.boxes)
    assert all(box.y >= 0 and box.y + box.height <= drawing.height for box in drawing.boxes)
    assert sorted((path.reference.table, path.reference.target) for path in drawing.paths) == sorted(
        (f"t{first}", f"t{second}") for first, second in keys
    )
    for path in drawing.paths:
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", path.text)]
        assert all(0 <= number <= max(drawing.width, drawing.height) for number in numbers)


def test_the_line_of_a_key_to_its_own_table_has_room() -> None:
    drawing = drawn(2, (0, 0), (1, 1))
    first, second = sorted(drawing.boxes, key=lambda box: box.x)
    ends = [max(float(x) for x in re.findall(r"([\d.]+) [\d.]+", path.text)) for path in drawing.paths]
    assert first.x + first.width < min(ends) < second.x
    assert second.x + second.width < max(ends) < drawing.width


def test_a_line_over_a_layer_passes_between_its_tables() -> None:
    drawing = drawn(6, (1, 0), (2, 1), (2, 0), (3, 1), (4, 1), (5, 1))
    boxes = {box.entity.name: box for box in drawing.boxes}
    path = next(path for path in drawing.paths if (path.reference.table, path.reference.target) == ("t2", "t0"))
    flat = re.search(r" ([\d.]+) ([\d.]+)H([\d.]+)", path.text)
    assert flat, path.text
    right, height, left = map(float, flat.groups())
    passed = boxes["t1"]
    assert (left, right) == (passed.x, passed.x + passed.width)
    assert not passed.y < height < passed.y + passed.height


def test_types_are_short_where_postgresql_has_a_short_name() -> None:
    long = ("timestamp(3) with time zone", "character varying(20)", "numeric(2,1)")
    assert [short_type(text) for text in long] == ["timestamptz(3)", "varchar(20)", "numeric(2,1)"]


@pytest.mark.parametrize(
    ("span", "labels"),
    [
        (timedelta(0), ["12:00:00", "12:00:01"]),
        (timedelta(minutes=4), ["12:00", "12:01", "12:02", "12:03", "12:04"]),
        (timedelta(days=9), ["3 Mar", "5 Mar", "7 Mar", "9 Mar"]),
        (timedelta(days=400), ["Apr 2026", "Jul 2026", "Oct 2026", "Jan 2027", "Apr 2027"]),
        (timedelta(days=3700), ["2028", "2030", "2032", "2034", "2036"]),
    ],
)
def test_the_time_line_has_few_round_ticks(span: timedelta, labels: list[str]) -> None:
    drawing = timeline([reported(runs=(entry("r2", MADE + span), entry("r1", MADE)))])
    assert drawing
    assert [tick.label for tick in drawing.ticks] == labels
    assert all(0 <= tick.x <= WIDTH for tick in drawing.ticks)
    assert [mark.x for mark in drawing.tracks[0].marks] == ([12, WIDTH - 12] if span else [12])


def test_without_an_entry_there_is_no_time_line() -> None:
    assert timeline([reported(runs=())]) is None
