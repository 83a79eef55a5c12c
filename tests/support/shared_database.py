"""Two services that declare one database and one role, of which one refers to a table of the other."""

from tests.support.monorepo import MODELS, Monorepo

REFERRING = (
    MODELS
    + """
    owner_id: Mapped[int] = mapped_column(ForeignKey("owners.id"))
"""
)


def share(monorepo: Monorepo, *names: str) -> None:
    """Let services share a database and a role, as a team declares it."""
    for name in names:
        text = "DATABASE_DSN=postgresql://shop:<password>@localhost:5432/shop\n"
        (monorepo.root / "services" / name / ".env.example").write_text(text, encoding="utf-8")


def refer(monorepo: Monorepo) -> None:
    """Write two services of one database: ``items``, which comes first in the alphabet, refers to ``owners``."""
    models = REFERRING.format(table="items").replace("import String", "import ForeignKey, String")
    monorepo.service("items", models)
    monorepo.service("owners")
    monorepo.table_revision("owners", "o001", None)
    monorepo.table_revision("items", "i001", None)
    monorepo.revision(
        "items",
        "i002",
        "i001",
        'op.add_column("items", sa.Column("owner_id", sa.Integer, sa.ForeignKey("owners.id"), nullable=False))',
        'op.drop_column("items", "owner_id")',
    )
    share(monorepo, "owners", "items")
