"""Mutants: one small fault at a time in the modules that decide something, and whether the tests of their room see it.

A mutant is run against the tests near its module first, and only if it survives these against the wider ones. What
survives both is printed, with its place. `nox -s mutants -- --help` lists the options.
"""

import argparse
import ast
import itertools
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

__all__ = ["ROOMS", "Mutant", "mutants"]

ROOT = Path(__file__).resolve().parents[2]

SECONDS = 600.0
"""What a run of tests may take; a mutant that never ends is seen."""

SETTINGS = (
    *("tests/unit/test_dsn_template.py", "tests/unit/test_env_files.py", "tests/unit/test_password.py"),
    "tests/server/test_mistakes.py",
)
AUTOGENERATE = ("tests/server/autogenerate/test_autogenerate.py", "tests/server/autogenerate/test_foreign_keys.py")
OWNERSHIP = ("tests/server/test_ownership.py", "tests/server/test_owners.py", "tests/server/test_ownership_agrees.py")
ROOMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "settings/sources.py": (
        ("tests/unit/test_settings.py", "tests/unit/test_dsn_template.py", "tests/unit/test_env_files.py"),
        SETTINGS[2:],
    ),
    "settings/siblings.py": (("tests/unit/test_siblings.py",), ("tests/unit/test_settings.py", *OWNERSHIP)),
    "settings/model.py": (("tests/unit/test_settings.py",), SETTINGS),
    "settings/duration.py": (("tests/unit/test_settings.py",), ()),
    "settings/template.py": (("tests/unit/test_dsn_template.py",), ("tests/server/test_settings_of_a_team.py",)),
    "settings/missing.py": (("tests/unit/test_dsn_template.py",), ("tests/server/test_settings_of_a_team.py",)),
    "settings/password.py": (
        ("tests/unit/test_password.py", "tests/unit/test_settings.py"),
        ("tests/server/test_settings_of_a_team.py",),
    ),
    "settings/dsn.py": (
        ("tests/unit/test_dsn.py", "tests/unit/test_libpq.py", "tests/unit/test_password.py"),
        ("tests/unit",),
    ),
    "settings/env_file.py": (("tests/unit/test_env_files.py",), ("tests/unit/test_settings.py",)),
    "configuration.py": (("tests/unit/test_configuration.py",), ("tests/unit",)),
    "monorepo.py": (("tests/unit/test_layouts.py", "tests/unit/test_monorepo.py"), ("tests/unit",)),
    "models/importing.py": (
        ("tests/unit/test_metadata.py",),
        ("tests/unit/test_service_code.py", "tests/unit/test_layouts.py", "tests/server/test_own_modules.py"),
    ),
    "models/exported.py": (("tests/unit/test_exported.py",), ("tests/unit/test_metadata.py",)),
    "history/graph.py": (("tests/unit/test_histories.py",), ("tests/unit/test_static.py", "tests/server/history")),
    "history/files/locations.py": (("tests/unit/test_histories.py", "tests/unit/test_layouts.py"), ("tests/unit",)),
    "history/baseline.py": (("tests/server/adoption/test_baseline.py",), ("tests/server/adoption",)),
    "history/sql/refused.py": (("tests/unit/test_refused.py",), ()),
    "adoption/code/expressions.py": (("tests/unit/adoption",), ()),
    "adoption/code/dsn_source.py": (("tests/unit/adoption",), ()),
    "adoption/writing.py": (("tests/unit/adoption",), ()),
    "testing/portable.py": (("tests/unit/test_portable.py",), ("tests/server/test_same_schema.py",)),
    "sql/asyncpg_refusals.py": (("tests/unit/test_refused.py",), ()),
    "history/files/static.py": (
        ("tests/unit/test_static.py", "tests/unit/test_histories.py"),
        ("tests/server/test_scan.py",),
    ),
    "history/files/fingerprint.py": (("tests/unit/test_fingerprint.py",), ("tests/server/test_edited.py",)),
    "plan/statements/classify.py": (("tests/unit/test_classify.py",), ("tests/server/test_plan.py",)),
    "plan/statements/novelty.py": (
        ("tests/unit/test_novelty.py", "tests/unit/test_classify.py"),
        ("tests/server/test_plan.py",),
    ),
    "plan/statements/nested.py": (
        ("tests/unit/test_classify.py", "tests/server/test_losses.py"),
        ("tests/server/test_plan.py",),
    ),
    **{
        f"plan/statements/{name}.py": (
            tuple(f"tests/unit/test_{test}.py" for test in tests),
            ("tests/server/test_plan.py",),
        )
        for name, tests in {
            "access": ("access", "breaking"),
            "breaking": ("breaking", "access"),
            "called": ("called_functions", "classify"),
            "columns": ("breaking", "classify"),
            "conditions": ("losses_of_rows", "classify"),
            "constraints": ("breaking",),
        }.items()
    },
    **{
        f"plan/database/{name}.py": (("tests/server/test_plan_of_database.py",), ())
        for name in ("names", "changes", "signatures", "privileges", "keys", "bodies")
    },
    **{
        f"plan/database/{name}.py": (
            ("tests/unit/test_restored.py", "tests/server/test_plan_of_constraint_names.py"),
            ("tests/server/test_plan_of_unseen.py", "tests/server/test_plan_of_database.py"),
        )
        for name in ("grants", "key_changes", "restored", "revisions")
    },
    "sql/session_state.py": (("tests/unit/test_session_state.py",), ()),
    "sql/script_texts.py": (("tests/unit/test_script_texts.py",), ()),
    "stack.py": (("tests/unit/test_stack.py",), ("tests/faults/test_revision_call.py",)),
    "side_effects.py": (("tests/server/test_noted_effects.py",), ("tests/server/test_side_effects.py",)),
    "plan/unfounded.py": (("tests/unit/test_unfounded.py",), ("tests/server/evidence/test_classes.py",)),
    "plan/guard.py": (("tests/unit/test_guard.py",), ("tests/server/test_plan.py",)),
    "ownership/attribution.py": (("tests/unit/test_attribution.py",), OWNERSHIP),
    "ownership/survey.py": (
        OWNERSHIP[:1],
        (*OWNERSHIP[1:], "tests/server/authoring/test_views.py", "tests/server/autogenerate/test_declared_objects.py"),
    ),
    "ownership/past.py": (("tests/unit/test_past.py",), ("tests/unit/test_attribution.py", *OWNERSHIP)),
    "health/preflight.py": (("tests/server/health/test_preflight.py",), ("tests/server/health",)),
    "rollout/rollout.py": (
        ("tests/server/test_rollout.py",),
        ("tests/server/test_affected.py", "tests/server/test_flags.py"),
    ),
    "rollout/schedule.py": (("tests/unit/test_schedule.py",), ("tests/server/test_rollout.py",)),
    "rollout/affected.py": (("tests/unit/test_affected.py",), ("tests/server/test_affected.py",)),
    "imports.py": (("tests/unit/test_affected.py", "tests/unit/test_exported.py"), ("tests/server/test_affected.py",)),
    "rollout/scan.py": (("tests/server/test_scan.py",), ("tests/server/test_rollout.py",)),
    "upgrade/run.py": (
        ("tests/server/upgrade/test_summaries.py", "tests/faults/test_sessions.py"),
        (
            "tests/server/upgrade",
            "tests/server/test_edited.py",
            "tests/faults/test_contention.py",
            "tests/faults/test_signals.py",
        ),
    ),
    "upgrade/retries.py": (("tests/faults/test_contention.py",), ("tests/faults",)),
    "upgrade/aftermath.py": (("tests/faults/test_signals.py",), ("tests/faults",)),
    "failures/driver_errors.py": (("tests/unit/test_driver_errors.py",), ()),
    "failures/revisions.py": (
        ("tests/server/upgrade/test_states.py", "tests/unit/test_offline.py"),
        (
            "tests/server/test_mistakes.py",
            "tests/server/test_drivers.py",
            "tests/server/test_environment_failures.py",
            "tests/faults/test_contention.py",
            "tests/faults/test_crashes.py",
        ),
    ),
    "failures/rights.py": (("tests/server/test_mistakes.py",), ("tests/server/upgrade/test_undo.py",)),
    "ledger/edited.py": (("tests/server/test_edited.py",), ("tests/server/test_ledger.py",)),
    "ledger/entries.py": (("tests/server/test_ledger.py",), ("tests/server/test_edited.py",)),
    "autogenerate/changes/columns.py": (AUTOGENERATE, ("tests/server/autogenerate",)),
    "autogenerate/changes/types/conversions.py": (
        ("tests/unit/test_conversions.py",),
        ("tests/server/autogenerate/test_conversions.py",),
    ),
    "autogenerate/changes/constraints.py": (AUTOGENERATE, ("tests/server/autogenerate",)),
    "autogenerate/changes/dependents.py": (
        ("tests/server/autogenerate/test_dependents.py",),
        ("tests/server/autogenerate/test_recreated_types.py", *AUTOGENERATE),
    ),
    "drift/compare.py": (
        ("tests/server/drift/test_compare.py", "tests/server/drift/test_repair.py"),
        ("tests/server/drift",),
    ),
    "drift/order.py": (
        ("tests/server/drift/test_repair_of_a_history.py", "tests/server/drift/test_order.py"),
        ("tests/server/drift",),
    ),
    "drift/extensions.py": (("tests/server/drift/test_extensions.py",), ("tests/server/drift",)),
    "drift/repair/columns.py": (
        ("tests/server/drift/test_repair.py", "tests/server/drift/test_repair_of_a_history.py"),
        ("tests/server/drift",),
    ),
    "session/transactions.py": (("tests/faults/test_sessions.py",), ("tests/faults", "tests/server/test_ledger.py")),
    "session/marks.py": (("tests/unit/test_marks.py", "tests/faults/test_sessions.py"), ("tests/faults",)),
    "session/closings.py": (("tests/faults/test_sessions.py",), ()),
    "session/locks.py": (("tests/faults/test_concurrency.py",), ("tests/faults",)),
    "session/tables/version_table.py": (
        ("tests/server/test_version_table.py",),
        ("tests/server/test_other_version_tables.py",),
    ),
    "ledger/plain_code.py": (("tests/unit/test_plain_code.py",), ()),
    "ledger/writer.py": (
        ("tests/server/test_ledger.py",),
        ("tests/server/test_edited.py", "tests/server/upgrade/test_summaries.py", "tests/server/upgrade/test_undo.py"),
    ),
    "ledger/downgrades.py": (("tests/server/upgrade/test_undo.py",), ("tests/server/upgrade",)),
    "upgrade/undo.py": (("tests/server/upgrade/test_undo.py",), ("tests/server/upgrade",)),
}
"""The modules, each with the tests near it and the wider ones."""

COMPARISONS = {
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Lt: ("<", ">="),
    ast.GtE: (">=", "<"),
    ast.Gt: (">", "<="),
    ast.LtE: ("<=", ">"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one fault: the bytes from start to end of its text are replaced."""

    module: str
    line: int
    start: int
    end: int
    text: str
    old: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {' '.join(self.old.split())[:80]}  ->  {' '.join(self.text.split())[:80]}"


class Source:
    """The text of a module, from which its mutants are made."""

    def __init__(self, module: str, text: str) -> None:
        """Find where each line starts: the columns of a syntax tree count bytes."""
        self.module, self.text, self._starts = module, text.encode(), [0]
        for line in self.text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def place(self, node: Any) -> tuple[int, int]:
        """Return the start and the end of a node."""
        start, end = self._starts[node.lineno - 1], self._starts[node.end_lineno - 1]
        return start + node.col_offset, end + node.end_col_offset

    def code(self, node: ast.AST) -> str:
        """Return the text of a node."""
        start, end = self.place(node)
        return self.text[start:end].decode()

    def mutant(self, node: ast.AST, replacement: str, start: int = -1, end: int = -1) -> Mutant:
        """Return the mutant with another text for a node, or for what is between two places."""
        first, last = self.place(node)
        first, last = first if start < 0 else start, last if end < 0 else end
        line = self.text.count(b"\n", 0, first) + 1
        return Mutant(self.module, line, first, last, replacement, self.text[first:last].decode())


def mutants(module: str, text: str) -> Iterator[Mutant]:
    """Yield the mutants of a module's text, each with one change of an expression or a statement."""
    source = Source(module, text)
    for node in _deciding(ast.parse(text)):
        for kinds, change in CHANGES:
            if isinstance(node, kinds):
                yield from change(source, node)


def _deciding(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a tree, but for what decides nothing: annotations, decorators and ``__all__``."""
    if isinstance(tree, ast.Subscript) and getattr(tree.value, "id", "") in ("Callable", "Literal"):
        return  # the name of a type, as in an annotation: only mypy reads it
    yield tree
    for name, value in ast.iter_fields(tree):
        is_list = isinstance(tree, ast.Assign) and any(
            getattr(target, "id", "") == "__all__" for target in tree.targets
        )
        if (name in ("annotation", "returns", "decorator_list", "args") and not isinstance(tree, ast.Call)) or is_list:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _deciding(child)


def _negated_test(source: Source, node: Any) -> Iterator[Mutant]:
    for test in node.ifs if isinstance(node, ast.comprehension) else [node.test]:
        yield source.mutant(test, f"(not ({source.code(test)}))")


def _other_comparison(source: Source, node: Any) -> Iterator[Mutant]:
    if len(node.ops) == 1:
        start, end = source.place(node.left)[1], source.place(node.comparators[0])[0]
        old, new = COMPARISONS[type(node.ops[0])]
        yield source.mutant(node, source.text[start:end].decode().replace(old, new, 1), start, end)


def _without_operand(source: Source, node: Any) -> Iterator[Mutant]:
    word = " and " if isinstance(node.op, ast.And) else " or "
    for value in node.values:
        yield source.mutant(
            node, f"({word.join(f'({source.code(result)})' for result in node.values if result is not value)})"
        )


def _without_side(source: Source, node: Any) -> Iterator[Mutant]:
    if isinstance(node.op, ast.Add | ast.BitOr | ast.Sub):
        yield source.mutant(node, source.code(node.left))
    if isinstance(node.op, ast.Add | ast.BitOr):
        yield source.mutant(node, source.code(node.right))


def _without_not(source: Source, node: Any) -> Iterator[Mutant]:
    if isinstance(node.op, ast.Not):
        yield source.mutant(node, f"({source.code(node.operand)})")


def _other_constant(source: Source, node: Any) -> Iterator[Mutant]:
    if isinstance(node.value, int):  # also True and False
        yield source.mutant(node, str(not node.value if isinstance(node.value, bool) else node.value + 1))


def _without_member(source: Source, node: Any) -> Iterator[Mutant]:
    members = node.elts
    if len(members) > 1 and all(isinstance(member, ast.Constant) for member in members):
        if isinstance(node, ast.Tuple) and len(members) == 2:
            for member in reversed(members):
                yield source.mutant(node, f"({source.code(member)},)")
            return
        for member, following in itertools.pairwise(members):  # its comma goes too
            yield source.mutant(member, "", end=source.place(following)[0])
        yield source.mutant(members[-1], "", start=source.place(members[-2])[1])


def _no_value(source: Source, node: Any) -> Iterator[Mutant]:
    if node.value is not None and not isinstance(node.value, ast.Constant):
        yield source.mutant(node.value, "None")


def _nothing(source: Source, node: Any) -> Iterator[Mutant]:
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
        yield source.mutant(node, "pass")


CHANGES: list[tuple[Any, Callable[[Source, Any], Iterator[Mutant]]]] = [
    (ast.If | ast.IfExp | ast.While | ast.comprehension, _negated_test),
    (ast.Compare, _other_comparison),
    (ast.BoolOp, _without_operand),
    (ast.BinOp, _without_side),
    (ast.UnaryOp, _without_not),
    (ast.Constant, _other_constant),
    (ast.Tuple | ast.Set | ast.List, _without_member),
    (ast.Return, _no_value),
    (ast.Raise | ast.Continue | ast.Break | ast.Expr, _nothing),
]


class Copy:
    """A copy of the repository, in which one mutant after the other is put in place and tested."""

    def __init__(self, folder: Path) -> None:
        """Copy what the tests need."""
        self.root = folder / "repo"
        shutil.copytree(ROOT, self.root, ignore=shutil.ignore_patterns(".*", "__pycache__"), symlinks=True)
        shutil.copy(ROOT / ".env.example", self.root)

    def notices(self, mutant: Mutant | None, tests: tuple[str, ...]) -> bool:
        """Whether a test fails with a mutant; with None, whether one fails anyway."""
        if mutant is None:
            return self._fails(tests)
        path = self.root / "service_migrations" / mutant.module
        text = path.read_bytes()
        try:
            path.write_bytes(text[: mutant.start] + mutant.text.encode() + text[mutant.end :])
            return self._fails(tests)
        finally:
            path.write_bytes(text)

    def _fails(self, tests: tuple[str, ...]) -> bool:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
        env = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        with subprocess.Popen(
            command, cwd=self.root, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as run:
            try:
                return run.wait(SECONDS) != 0
            except subprocess.TimeoutExpired:
                run.terminate()  # its server ends with it
                return True


def survivors(chosen: list[Mutant], copies: list[Copy]) -> list[Mutant]:
    """Run each mutant in one of the copies, and return those that no test has noticed."""
    free: Queue[Copy] = Queue()
    for copy in copies:
        free.put(copy)

    def survives(mutant: Mutant) -> bool:
        copy = free.get()
        try:
            near, wide = ROOMS[mutant.module]
            noticed = copy.notices(mutant, near) or (bool(wide) and copy.notices(mutant, wide))
        finally:
            free.put(copy)
        if not noticed:
            print(f"survives  {mutant}", flush=True)
        return not noticed

    with ThreadPoolExecutor(len(copies)) as threads:
        return [mutant for mutant, alive in zip(chosen, threads.map(survives, chosen), strict=True) if alive]


def main() -> None:
    """Make mutants, run them, and print how many of each module the tests have noticed."""
    parser = argparse.ArgumentParser(prog="nox -s mutants --", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="repeats the choice of another run (default: %(default)s)")
    parser.add_argument("--each", type=int, default=10, help="mutants of each module (default: %(default)s; 0: all)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at once (default: the cores)")
    parser.add_argument("modules", nargs="*", default=list(ROOMS), help="such as plan/guard.py (default: all)")
    options = parser.parse_args()
    if unknown := sorted({*options.modules} - {*ROOMS}):
        parser.error(f"unknown: {', '.join(unknown)}. Known: {', '.join(ROOMS)}")
    choice = random.Random(options.seed)  # noqa: S311 - a choice of tests
    chosen = []
    for module in options.modules:
        found = list(mutants(module, (ROOT / "service_migrations" / module).read_text(encoding="utf-8")))
        chosen += choice.sample(found, min(options.each, len(found))) if options.each else found
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = [Copy(Path(folder) / str(number)) for number in range(options.jobs)]
        for tests in sorted({ROOMS[module][0] for module in options.modules}):
            if copies[0].notices(None, tests):
                parser.error(f"{' '.join(tests)} fails without a mutant too")
        alive = survivors(chosen, copies)
    for module in options.modules:
        count, left = (sum(mutant.module == module for mutant in some) for some in (chosen, alive))
        print(f"{module}: {count - left} of {count} killed")
    print(f"{len(chosen) - len(alive)} of {len(chosen)} killed ({(1 - len(alive) / len(chosen)):.0%})")


if __name__ == "__main__":
    main()
