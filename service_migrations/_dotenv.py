"""What is no part of python-dotenv's documented interface, checked on 1.2.4.

Only its parser tells in which line a value stands, and which lines are no assignments; ``dotenv_values`` tells neither.
"""

from dotenv.parser import Binding, parse_stream

__all__ = ["Binding", "parse_stream"]
