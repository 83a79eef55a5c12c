"""Keys in the table of a small monorepo's pyproject.toml."""

from tests.support.monorepo import Monorepo


def set_keys(monorepo: Monorepo, *lines: str, service: str = "") -> None:
    """Write lines into ``[tool.service-migrations]``, or into the own table of a service."""
    path = monorepo.root / "pyproject.toml"
    text, head = path.read_text(encoding="utf-8"), "[tool.service-migrations]\n"
    if service:
        path.write_text(f"{text}\n[tool.service-migrations.service.{service}]\n" + "\n".join(lines) + "\n", "utf-8")
    else:
        assert head in text
        path.write_text(text.replace(head, head + "\n".join(lines) + "\n", 1), encoding="utf-8")
