"""Names as PostgreSQL has them: folded, and cut behind 63 bytes."""

import pytest

from service_migrations.catalog.own_path import default_of, names_of
from service_migrations.sql.identifiers import LONGEST, cut, folded


def test_only_the_letters_of_ascii_are_folded() -> None:
    assert folded("ABCXYZ_Äß9") == "abcxyz_Äß9"


@pytest.mark.parametrize(
    ("name", "room", "expected"),
    [
        ("a" * 63, LONGEST, "a" * 63),
        ("a" * 64, LONGEST, "a" * 63),
        ("ä" * 32, LONGEST, "ä" * 31),
        ("€" * 22, LONGEST, "€" * 21),
        ("😀" * 15, LONGEST, "😀" * 15),
        ("😀" * 16, LONGEST, "😀" * 15),
        ("ä" * 40, LONGEST - 2, "ä" * 30),
        ("short", 3, "sho"),
    ],
)
def test_a_name_is_cut_behind_the_bytes_that_fit_in_whole_characters(name: str, room: int, expected: str) -> None:
    assert cut(name, room) == expected


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ('App, "App", public', ["app", "App", "public"]),
        ('"a,b", "c""d" , my-schema', ["a,b", 'c"d', "my-schema"]),
        (f"{'A' * 70}, b", ["a" * 63, "b"]),
        ("", []),
    ],
)
def test_a_search_path_is_read_as_postgresql_reads_it(path: str, names: list[str]) -> None:
    assert list(names_of(path)) == names
    assert default_of(path) == (names or ["public"])[0]
