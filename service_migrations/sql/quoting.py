"""SQL in one line, whatever it holds: a list of differences is read, searched and piped by the line."""

import re

__all__ = ["literal", "one_line"]

_TOKEN = re.compile(
    r"""(?P<dollar>\$(?P<tag>\w*)\$(?P<body>.*?)\$(?P=tag)\$)|(?P<escaped>\bE'(?:[^'\\]|''|\\.)*')"""
    r"""|(?P<text>'(?:[^']|'')*')|(?P<name>"(?:[^"]|"")*")|(?P<space>\s+)""",
    re.DOTALL,
)


def literal(text: str) -> str:
    """Return a text as a string constant of one line."""
    quoted = text.replace("'", "''")
    if not re.search(r"[\\\n\r]", quoted):
        return f"'{quoted}'"
    for sign, escape in (("\\", r"\\"), ("\n", r"\n"), ("\r", r"\r")):
        quoted = quoted.replace(sign, escape)
    return f"E'{quoted}'"


def one_line(sql: str) -> str:
    """Return SQL in one line; what stands in quotes keeps its meaning."""

    def flat(match: re.Match[str]) -> str:
        if match["space"]:
            return " "
        if match["dollar"]:
            return literal(match["body"])
        if match["text"] and "\n" in match["text"]:
            return literal(match["text"][1:-1].replace("''", "'"))
        return match[0].replace("\n", r"\n") if match["escaped"] else match[0]

    return _TOKEN.sub(flat, sql).strip()
