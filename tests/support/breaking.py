"""What a plan says of the code that runs now, of the text of one revision."""

from service_migrations.plan.classes import Class
from service_migrations.plan.statements.classify import classify
from service_migrations.plan.statements.novelty import Scope
from service_migrations.sql.lexer import statements


def breaking(text: str) -> list[str]:
    """Return what breaks running code in the statements of one revision."""
    scope, breaks = Scope(), []
    tokens = [statement.tokens for statement in statements(text)]
    scope.look_ahead(tokens)
    for statement in tokens:
        breaks += [message for kind, message in classify(statement, scope) if kind is Class.BREAKING]
        scope.record(statement)
    return breaks
