"""The syntax tree of a revision file, without Python's warnings of it: those come when the file is imported."""

import ast
import threading
import warnings
from importlib.util import decode_source

__all__ = ["FILTERS", "parse", "source_text"]

FILTERS = threading.RLock()
"""The filters of warnings belong to the process: of two threads that change them, one would restore the other's."""


def parse(source: bytes | str) -> ast.Module:
    """Return the syntax tree of a file.

    Raises:
        SyntaxError, ValueError: it isn't valid Python.

    """
    with FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


def source_text(source: bytes) -> str:
    """Return the text of a file in the encoding that its first lines name, as Python reads it."""
    try:
        return decode_source(source)
    except (SyntaxError, UnicodeDecodeError):
        return source.decode(errors="replace")  # its import reports it
