"""Asks whether the tests notice: makes one small change to a module, runs the tests that should object, and lists every
change that none of them did.

The changes are Cosmic Ray's (an operator, a comparison, a number, a condition turned around, ...), and statements left
out. All of it happens in copies of the project: the work tree is only read.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

ROOT = Path(__file__).parents[2]

FOCUSED: dict[str, tuple[str, ...]] = {
    # what is changed: the tests that should notice
    "workers/backlog.py": ("tests/workers/test_backlog.py",),
    "workers/writer.py": ("tests/workers/test_writer.py", "tests/workers/test_delivery.py"),
    "workers/delivery.py": ("tests/workers/test_delivery.py", "tests/workers/test_writer.py"),
    "workers/watermark.py": ("tests/workers/test_watermark.py",),
    "workers/confirmer.py": ("tests/workers/test_confirmer.py",),
    "eventstore/projections.py": ("tests/test_projections.py", "tests/storage/test_appender.py"),
    "eventstore/storage/appender.py": ("tests/storage/test_appender.py", "tests/test_projections.py"),
    "eventstore/journal": ("tests/journal",),
    "eventstore/journaled.py": ("tests/test_journaled.py",),
    "eventstore/recovery.py": ("tests/test_recovery.py",),
    "eventstore/retained.py": ("tests/test_retained.py",),
}

# Of the many operators that could stand in place of another one, those that are nearest to a slip.
_REPLACED = {
    "Binary": "Add_Sub Sub_Add Mul_FloorDiv Div_Mul FloorDiv_Mul Mod_FloorDiv RShift_LShift LShift_RShift BitOr_BitAnd "
    "BitAnd_BitOr BitXor_BitOr",
    "Comparison": "Eq_NotEq NotEq_Eq Is_IsNot IsNot_Is Lt_LtE Lt_GtE LtE_Lt LtE_Gt Gt_GtE Gt_LtE GtE_Gt GtE_Lt",
    "Unary": "USub_UAdd Delete_Not Delete_USub",
}
OPERATORS = (
    *(f"core/Replace{kind}Operator_{name}" for kind, names in _REPLACED.items() for name in names.split()),
    "core/AddNot",
    "core/NumberReplacer",
    "core/ReplaceAndWithOr",
    "core/ReplaceBreakWithContinue",
    "core/ReplaceContinueWithBreak",
    "core/ReplaceFalseWithTrue",
    "core/ReplaceOrWithAnd",
    "core/ReplaceTrueWithFalse",
    "core/ZeroIterationForLoop",
)

_LEFT_BEHIND = (".git", ".venv*", ".hypothesis", "__pycache__", ".*_cache", "build", "dist", "*.egg-info")
# A change that a property test notices is noticed: looking for the smallest example of it only takes time.
_NO_SHRINKING = "\n\nimport hypothesis.internal.conjecture.engine as _engine\n\n_engine.MAX_SHRINKS = 0\n"
_TIMES_BASELINE = 5
_TIMEOUT_S_MIN = 10.0


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of a module: what kind it is, and the source with it."""

    module: str
    kind: str
    source: str

    def diff(self, original: str) -> str:
        lines = difflib.unified_diff(
            original.splitlines(),
            self.source.splitlines(),
            self.module,
            f"{self.module} ({self.kind})",
            n=2,
            lineterm="",
        )
        return "\n".join(lines)


@dataclass(slots=True)
class Score:
    """How many of a module's mutants the tests noticed, and the diffs of those that they did not."""

    module: str
    mutants: int
    tried: int
    noticed: int
    timed_out: int
    took_s: float
    survivors: list[str]


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Every change of `source` that can be told from it and from the others."""
    seen = {_essence(source)}
    for kind, changed in (*_by_operators(source), *_without_statements(source)):
        essence = _essence(changed)
        if essence is not None and essence not in seen:
            seen.add(essence)
            yield Mutant(module, kind, changed)


def _by_operators(source: str) -> Iterator[tuple[str, str]]:
    for name in OPERATORS:
        occurrence = 0
        while (changed := mutate_code(source, get_operator(name)(), occurrence)) is not None:
            yield name.removeprefix("core/"), changed
            occurrence += 1


def _without_statements(source: str) -> Iterator[tuple[str, str]]:
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Expr | ast.Assign | ast.AugAssign | ast.Delete | ast.Raise | ast.Return):
            continue
        if node.col_offset == 0 or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            continue  # a module without one of its names breaks at its import; a docstring does nothing
        first, last = node.lineno - 1, node.end_lineno or node.lineno
        if lines[first][: node.col_offset].strip():
            continue  # it shares its line with another statement
        yield "statement left out", "".join((*lines[:first], " " * node.col_offset + "pass\n", *lines[last:]))


class _Essence(ast.NodeTransformer):
    """Takes out what tests do not ask for: annotations, docstrings, and whether a class is frozen or has slots."""

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        node.decorator_list = []
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        self.generic_visit(node)
        slots = isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__slots__"
        return ast.Pass() if slots else node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        self.generic_visit(node)
        return None if node.value is None else ast.Assign([node.target], node.value, lineno=0)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(node.arg)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        self.generic_visit(node)
        return ast.Pass() if isinstance(node.value, ast.Constant) else node


def _essence(source: str) -> str | None:
    try:
        return ast.dump(_Essence().visit(ast.parse(source)))
    except SyntaxError:
        return None


class Copy:
    """A copy of the project in which one module after the other is changed and its tests are run."""

    def __init__(self, place: Path) -> None:
        self.root = place / "copy"
        shutil.copytree(ROOT, self.root, ignore=shutil.ignore_patterns(*_LEFT_BEHIND))
        with (self.root / "tests" / "support" / "effort.py").open("a") as effort:
            effort.write(_NO_SHRINKING)

    def passes(self, module: str, source: str, tests: tuple[str, ...], timeout_s: float | None) -> bool | None:
        """Whether the tests pass with `source` as the module; None if they do not end in time."""
        path = self.root / module
        original = path.read_text()
        path.write_text(source)
        try:
            return self._run(tests, timeout_s)
        finally:
            path.write_text(original)

    def _run(self, tests: tuple[str, ...], timeout_s: float | None) -> bool | None:
        options = ("-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--no-header")
        # Not this program's own path: the tests are to find the copy.
        environment = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=self.root,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return process.wait(timeout_s) == 0
        except subprocess.TimeoutExpired:
            return None
        finally:
            # Servers and children of the tests are in its session.
            _kill_group(process.pid)
            process.wait()


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def tests_of(module: str) -> tuple[str, ...]:
    """The tests that should notice what happens to `module`."""
    for name, tests in FOCUSED.items():
        if module == name or module.startswith(f"{name}/"):
            return tuple(test for test in tests if (ROOT / test).exists())
    raise SystemExit(f"{module}: which tests should notice? Say so in {Path(__file__).name}")


def score(copy: Copy, module: str, sample: int, seconds: float, draw: random.Random) -> Score:
    """Try a sample of the module's mutants, for that many seconds or one mutant at least."""
    source, tests = (copy.root / module).read_text(), tests_of(module)
    started = time.monotonic()
    if copy.passes(module, source, tests, None) is not True:
        raise SystemExit(f"{module}: {' '.join(tests)} do not pass as they are")
    timeout_s = max(_TIMES_BASELINE * (time.monotonic() - started), _TIMEOUT_S_MIN)
    if copy.passes(module, f"{source}\nraise ImportError\n", tests, timeout_s):
        raise SystemExit(f"{module}: {' '.join(tests)} do not use the copy")
    found = list(mutants(module, source))
    result = Score(module, len(found), 0, 0, 0, 0.0, [])
    for mutant in draw.sample(found, min(sample, len(found))):
        if result.tried and time.monotonic() - started > seconds:
            break
        result.tried += 1
        passed = copy.passes(module, mutant.source, tests, timeout_s)
        result.noticed += not passed
        result.timed_out += passed is None
        if passed:
            result.survivors.append(mutant.diff(source))
            print(result.survivors[-1], end="\n\n", flush=True)
    result.took_s = round(time.monotonic() - started, 1)
    return result


def modules_of(names: list[str]) -> list[str]:
    """The modules that `names`, files or folders, stand for; those of `FOCUSED` that there are if none is given."""
    found: list[str] = []
    for name in names or [name for name in FOCUSED if (ROOT / name).exists()]:
        path = ROOT / name
        if not path.exists():
            raise SystemExit(f"{name}: there is no such file")
        paths = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        found += [str(item.relative_to(ROOT)) for item in paths if item.name != "__init__.py"]
    return found


def main() -> None:
    """Try the mutants that the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="a file or folder; default: all that are known")
    parser.add_argument("--sample", type=int, default=25, help="mutants of each module at most; default: 25")
    parser.add_argument("--minutes", type=float, default=15.0, help="for all modules together, about; default: 15")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the scores and survivors there")
    arguments = parser.parse_args()
    modules = modules_of(arguments.modules)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the copy is removed
    scores = []
    ends_at = time.monotonic() + arguments.minutes * 60
    with tempfile.TemporaryDirectory(prefix="mutate-") as place:
        copy = Copy(Path(place))
        for i, module in enumerate(modules):
            seconds = (ends_at - time.monotonic()) / (len(modules) - i)
            draw = random.Random(f"{arguments.seed} {module}")
            scores.append(last := score(copy, module, arguments.sample, seconds, draw))
            print(
                f"{module}: {last.noticed} of {last.tried} noticed ({last.noticed / max(last.tried, 1):.0%}), "
                f"{last.timed_out} of them by not ending; {last.mutants} mutants in all; {last.took_s} s\n",
                flush=True,
            )
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(item) for item in scores], indent=2))


if __name__ == "__main__":
    main()
