"""Programs that a person starts beside Invoke."""

from tests.support.monorepo import Monorepo, Ran


def alembic(monorepo: Monorepo, *words: str, **environment: str) -> Ran:
    """Run the program in a monorepo, as a person would."""
    return monorepo.inv(*words, env=environment, program="alembic")
