"""The texts of a revision in a script: what psql would do with them that a server doesn't, or an upgrade refuses."""

import re

from service_migrations.sql.lexer import Statement, line_of_backslash, statements

__all__ = ["ScriptTexts"]

_TRANSACTIONS = re.compile(r"\b(?:begin|start|commit|end|rollback|abort|prepare)\b", re.IGNORECASE)
_BEGINS, _ENDS, _ROLLS_BACK = ("begin", "start"), ("commit", "end"), ("rollback", "abort")


class ScriptTexts:
    """The texts of one revision after the other.

    Attributes:
        texts: those of the revision, each with its end.

    """

    def __init__(self) -> None:
        """Begin without texts."""
        self.texts: list[str] = []
        self._has_own_transaction = self._has_escapes = False

    def begin(self) -> None:
        """Begin with a revision."""
        self.texts.clear()
        self._has_own_transaction = self._has_escapes = False

    def refusal(self, text: str) -> str | None:
        """Note a text, and return why it isn't taken, as a sentence or two; None where it is."""
        self.texts.append(f"{text}\n;")
        self._has_escapes = self._has_escapes or "standard_conforming_strings" in text
        if not self._has_escapes and (line := line_of_backslash(text)) is not None:
            # where strings have escapes, only the server knows where they end
            return (
                f"line {line} of the statement has a backslash outside of quotes: PostgreSQL takes none there, and "
                "psql takes it for one of its own commands"
            )
        reasons = map(self._refusal, statements(text)) if _TRANSACTIONS.search(text) else ()
        return next((reason for reason in reasons if reason), None)

    def _refusal(self, statement: Statement) -> str | None:
        """Return why what the revision did isn't committed; one that it has begun itself may be rolled back."""
        words = [token.value if token.kind == "word" else "" for token in statement.tokens]
        if words[0] in _BEGINS:
            self._has_own_transaction = True
        elif words[0] in _ENDS and words[1:2] != ["prepared"]:
            self._has_own_transaction = False
        elif words[0] in _ROLLS_BACK and "to" not in words and words[1:2] != ["prepared"]:
            if not self._has_own_transaction:
                return (
                    "it rolls back its own transaction, so what it did before is lost. Remove the rollback: a revision "
                    "that fails is rolled back as a whole"
                )
            self._has_own_transaction = False
        elif words[:2] == ["prepare", "transaction"] and not self._has_own_transaction:
            return "it leaves a prepared transaction, so what it did isn't committed. Remove PREPARE TRANSACTION"
        return None
