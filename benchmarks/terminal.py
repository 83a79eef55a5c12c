"""Draw docs/terminal.svg: a terminal in which the README's commands run, from a real run in a copy of this repository.

``uv run python -m benchmarks.terminal`` makes it anew. The copy has its own PostgreSQL, which is removed at the end.
"""

import io
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from benchmarks.shop import ROOT, shop

WIDTH, HEIGHT = 112, 30
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>inv up, and a day's work, in a terminal</title>
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, monospace; font-size: {char_height}px;
  line-height: {line_height}px; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""
"""A picture that loads nothing: rich's own format fetches a font."""

MODEL = "services/billing/models/customers.py"
EDIT = ("    email: Mapped[", "    phone: Mapped[str | None]\n    email: Mapped[")
COMMANDS = (
    ("inv", "up"),
    ("inv", "db.revision", "--service", "billing", "-m", "Add the phone of customers."),
    ("inv", "db.upgrade", "--service", "billing"),
    ("inv", "db.check", "--service", "billing"),
)


def run(words: tuple[str, ...], folder: Path) -> str:
    """Run a command on a terminal of its own, and return what stands there in the end."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(WIDTH), "LINES": str(HEIGHT)}
    program = Path(sys.executable).parent / words[0]
    process = subprocess.Popen(
        [str(program), *words[1:]], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    output = b""
    while select.select([ours], [], [], 120)[0]:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        output += part
    os.close(ours)
    if process.wait(60):
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}:\n{output.decode(errors='replace')}")
    return output.decode("utf-8", "replace").replace(str(folder), "~/shop")


def settled(output: str) -> list[str]:
    """Return the lines that stay: without those that a progress line has overwritten, and without log lines."""
    output = re.sub(r"\x1b\[\?25[lh]", "", output).replace("\r\n", "\n")
    lines: list[str] = []
    for line in output.split("\n"):
        moved = len(re.findall(r"\x1b\[1A", line))
        for _ in range(min(moved, len(lines))):
            lines.pop()
        text = re.sub(r"\x1b\[(?:1A|2K|\d*G)", "", line).split("\r")[-1]
        lines.append(text)
    plain = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ - ")
    return [line for line in lines if not plain.match(re.sub(r"\x1b\[[\d;]*m", "", line))]


def main() -> None:
    """Make the picture."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    with shop() as folder:
        try:
            for number, words in enumerate(COMMANDS):
                shown = " ".join(f'"{word}"' if " " in word else word for word in words)
                console.print(Text.assemble(("$ ", "bold green"), (shown, "bold")))
                if number == 1:
                    path = folder / MODEL
                    path.write_text(path.read_text(encoding="utf-8").replace(*EDIT, 1), encoding="utf-8")
                lines = [line for line in settled(run(words, folder)) if line.strip()]
                console.print(Text.from_ansi("\n".join(lines)))
                console.print()
        finally:
            subprocess.run(
                [str(Path(sys.executable).parent / "inv"), "down", "--purge", "--yes"],
                cwd=folder, stdout=subprocess.DEVNULL, check=True,
            )  # fmt: skip
    svg = console.export_svg(title="service-migrations", code_format=FORMAT, unique_id="terminal")
    (ROOT / "docs" / "terminal.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
