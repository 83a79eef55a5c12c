"""Only this machine's part: what a shard holds."""

from collections.abc import Sequence

import pytest

from service_migrations.errors import UsageError
from service_migrations.monorepo import Service, discover
from service_migrations.rollout.shard import Shard, parse_shard
from service_migrations.settings.model import load_many
from tests.support.monorepo import Monorepo


@pytest.fixture
def fleet(monorepo: Monorepo) -> tuple[Service, ...]:
    """Make 40 services; the last ten share one database."""
    for number in range(40):
        monorepo.service(f"s{number:02}", dsn=f"postgresql://a:b@h:5432/{'one' if number >= 30 else f'd{number}'}")
    return discover(monorepo.root)


def part_of(shard: Shard, services: Sequence[Service]) -> list[Service]:
    return [service for service, _ in shard.part(zip(services, load_many(services), strict=True))]


@pytest.mark.parametrize("count", [1, 3, 10])
def test_every_service_is_in_exactly_one_shard(fleet, count):
    parts = [part_of(Shard(number, count), fleet) for number in range(1, count + 1)]
    assert sorted(service for part in parts for service in part) == list(fleet)


def test_services_that_share_a_database_are_in_one_shard(fleet):
    parts = [set(part_of(Shard(number, 7), fleet)) for number in range(1, 8)]
    assert [part & set(fleet[30:]) for part in parts if part & set(fleet[30:])] == [set(fleet[30:])]


def test_a_service_that_comes_or_goes_moves_no_other(fleet):
    before = {service: number for number in range(1, 6) for service in part_of(Shard(number, 5), fleet)}
    after = {service: number for number in range(1, 6) for service in part_of(Shard(number, 5), fleet[1:])}
    assert after == {service: before[service] for service in fleet[1:]}


def test_the_split_is_the_same_on_every_machine_and_day(fleet):
    assert [service.name for service in part_of(Shard(2, 5), fleet)] == ["s03", "s19", "s21", "s23", "s25"]


def test_a_machine_of_an_indexed_job_takes_its_number_from_the_job() -> None:
    assert parse_shard("/10", {"JOB_COMPLETION_INDEX": "0"}) == Shard(1, 10)
    assert parse_shard("/10", {"JOB_COMPLETION_INDEX": "9"}) == Shard(10, 10)
    assert parse_shard("3/10", {"JOB_COMPLETION_INDEX": "9"}) == Shard(3, 10)
    with pytest.raises(UsageError, match="no shard 11 of 10"):
        parse_shard("/10", {"JOB_COMPLETION_INDEX": "10"})
