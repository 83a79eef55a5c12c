"""The undocumented names of python-dotenv that are used, checked on 1.2.4.

Only its parser returns the line of each value, and the lines that are no assignments; ``dotenv_values`` doesn't.
"""

from dotenv.parser import Binding, parse_stream

__all__ = ["Binding", "parse_stream"]
