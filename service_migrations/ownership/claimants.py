"""The services that share one database, each with its claims."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeVar

from service_migrations.connection.connector import Connector
from service_migrations.errors import ConfigurationError
from service_migrations.models.claims import Claims, load_claims, place_of
from service_migrations.models.metadata import bookkeeping_schema
from service_migrations.models.tables.views import Name
from service_migrations.monorepo import Service
from service_migrations.ownership.candidates import Candidate
from service_migrations.ownership.past import HistoryClaims, history_claims
from service_migrations.settings.siblings import Sibling, siblings
from service_migrations.sql.created import ObjectName

__all__ = ["Claimant", "Claimants", "load_claimants", "sibling_claims", "views_among"]

_Key = TypeVar("_Key")


@dataclass(frozen=True)
class Claimant:
    """A service that has a database, or may have it where it isn't ``certain``.

    ``schema`` is that of its names without one, ``models`` the claims of its models. ``views`` are the views and
    foreign tables that its models map, by their names as tables. ``replay`` returns the claims of
    its history; it is called at most once, at the first use of ``history``. The caller then holds the process lock.
    """

    service: Service
    certain: bool
    schema: str
    models: frozenset[ObjectName]
    version_table: ObjectName
    ledger: ObjectName
    replay: Callable[[], HistoryClaims]
    views: frozenset[ObjectName] = frozenset()

    @classmethod
    def of(cls, service: Service, claims: Claims, schema: str, version_table: str, *, certain: bool) -> "Claimant":
        """Return a service with its claims.

        Args:
            service: the service.
            claims: those of its models.
            schema: that of its names without one.
            version_table: the name of its version table.
            certain: whether it has the database for certain.

        """
        own_schema = bookkeeping_schema(service, claims.metadata) or schema
        return cls(
            service,
            certain,
            schema,
            _with_schema(claims, schema),
            ObjectName("table", own_schema, version_table),
            ObjectName("table", own_schema, service.ledger_table),
            partial(history_claims, service, schema),
            _named("table", claims.views, schema),
        )

    @cached_property
    def history(self) -> HistoryClaims:
        """The claims of its history."""
        return self.replay()

    @cached_property
    def schemas(self) -> frozenset[str]:
        """The schemas of its models' tables, and that of its names without one."""
        return frozenset({name.schema for name in self.models if name.kind == "table"} | {self.schema})


class Claimants:
    """All services that have a database, or may have it, in alphabetical order.

    They are indexed by their claims: there may be hundreds of services, and thousands of objects.
    """

    def __init__(self, services: Iterable[Claimant]) -> None:
        self._all = sorted(services, key=lambda claimant: claimant.service)
        self._by_model = self._index(lambda claimant: claimant.models)
        self._by_view = self._index(lambda claimant: claimant.views)
        self._by_schema = self._index(lambda claimant: {name.schema for name in claimant.models})
        self._by_version_table = self._index(lambda claimant: (claimant.version_table, claimant.version_table.name))
        self._by_ledger = self._index(lambda claimant: (claimant.ledger, claimant.ledger.name))

    @classmethod
    def of(
        cls, connector: Connector, schema: str, own: Claims, claims_of_siblings: Mapping[Sibling, Claims]
    ) -> "Claimants":
        """Return a service and its siblings.

        Args:
            connector: of the service.
            schema: that of its names without one.
            own: the claims of its models.
            claims_of_siblings: from ``sibling_claims``.

        """
        claimant = Claimant.of(connector.service, own, schema, connector.version_table, certain=True)
        others = (
            Claimant.of(sibling.service, claims, sibling.schema, sibling.version_table, certain=sibling.certain)
            for sibling, claims in claims_of_siblings.items()
        )
        return cls((claimant, *others))

    def __iter__(self) -> Iterator[Claimant]:
        return iter(self._all)

    def __getitem__(self, service: Service) -> Claimant:
        """Return one of the services with its claims."""
        return next(claimant for claimant in self._all if claimant.service == service)

    def with_model(self, name: ObjectName) -> Sequence[Claimant]:
        """Return the services whose models claim an object."""
        return self._by_model.get(name, ())

    def with_view(self, name: ObjectName) -> Sequence[Claimant]:
        """Return the services whose models map a view or foreign table."""
        return self._by_view.get(name._replace(kind="table"), ())

    def with_model_in(self, schema: str) -> Sequence[Claimant]:
        """Return the services whose models claim anything in a schema."""
        return self._by_schema.get(schema, ())

    def with_version_table(self, name: ObjectName | str) -> Sequence[Claimant]:
        """Return the services with this version table; a bare name means any schema."""
        return self._by_version_table.get(name, ())

    def with_ledger(self, name: ObjectName | str) -> Sequence[Claimant]:
        """Return the services with this ledger; a bare name means any schema."""
        return self._by_ledger.get(name, ())

    def refuse_two_for_one_object(self, target: str, service: Service | None = None) -> None:
        """Refuse two services whose models claim the same object, and that have the database for certain.

        Args:
            target: the database, as messages name it.
            service: the only one whose conflicts count; of all services where it is None. An object that two siblings
                claim is not this service's in either case.

        Raises:
            ConfigurationError: there are two or more; the message has their names and files.

        """
        for name, claiming in sorted(self._by_model.items()):
            services = [claimant.service for claimant in claiming if claimant.certain]
            if len(services) > 1 and service in (None, *services):
                places = " and ".join(sorted(place_of(owner, name) for owner in services))
                all_of_them = "both" if len(services) == 2 else "all"  # noqa: PLR2004 - two are both
                raise ConfigurationError(
                    f"{places} {all_of_them} claim the {name.kind} {name.schema}.{name.name} of {target}.",
                    service=service,
                    hint=f"Keep it in the models of {' or '.join(map(str, services))} alone, or give each another "
                    "database or schema.",
                )

    def _index(self, keys: Callable[[Claimant], Iterable[_Key]]) -> dict[_Key, list[Claimant]]:
        index: dict[_Key, list[Claimant]] = {}
        for claimant in self._all:
            for key in keys(claimant):
                index.setdefault(key, []).append(claimant)
        return index


def sibling_claims(connector: Connector, candidates: Iterable[Candidate]) -> dict[Sibling, Claims]:
    """Return the siblings that have a service's database, or may have it, with their models' claims.

    Args:
        connector: of the service.
        candidates: the objects of the database; a version table or ledger shows that its service uses it, and a table
            of the models may be a view.

    Raises:
        ConfigurationError: the models of a sibling can't be assembled.

    """
    tables = {candidate.name.name for candidate in candidates if candidate.name.kind == "table"}
    sharing = siblings(connector.service, connector.databases, connector.sources, tables)
    claims = load_claims([sibling.service for sibling in sharing]).values()
    return {
        sibling: sibling_claims.with_views(views_among(candidates, sibling.schema))
        for sibling, sibling_claims in zip(sharing, claims, strict=True)
    }


def views_among(candidates: Iterable[Candidate], schema: str) -> Callable[[Name], bool]:
    """Return a function that answers whether a name of the models is that of a view or foreign table of a database.

    Args:
        candidates: the objects of the database.
        schema: that of a name without one.

    """
    views = {(candidate.name.schema, candidate.name.name) for candidate in candidates if candidate.is_view}
    return lambda name: (name[0] or schema, name[1]) in views


def load_claimants(connector: Connector, schema: str, candidates: Iterable[Candidate]) -> Claimants:
    """Return all services that have a database, or may have it; no history is read.

    Args:
        connector: of the service.
        schema: that of its names without one.
        candidates: the objects of the database.

    Raises:
        ConfigurationError: the models of one can't be assembled.

    """
    own = load_claims([connector.service])[connector.service].with_views(views_among(candidates, schema))
    return Claimants.of(connector, schema, own, sibling_claims(connector, candidates))


def _with_schema(claims: Claims, schema: str) -> frozenset[ObjectName]:
    """Return the claims of models, each name with its schema."""
    kinds = {"table": claims.tables, "type": claims.enums | claims.domains, "sequence": claims.sequences}
    return frozenset().union(*(_named(kind, names, schema) for kind, names in kinds.items()))


def _named(kind: str, names: Iterable[Name], schema: str) -> frozenset[ObjectName]:
    return frozenset(ObjectName(kind, own_schema or schema, name) for own_schema, name in names)
