"""The bench's command line. See `scripts.lib.bench`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console

from scripts.lib.bench import compare, growth, tables
from scripts.lib.bench.found import ROOT, Found, environment
from scripts.lib.bench.growth import Points
from scripts.lib.bench.places import quiet
from scripts.lib.bench.sizes import FULL, QUICK
from scripts.lib.bench.subjects import NAMES, run, say, subject

DOCUMENT = ROOT / "docs" / "performance.md"
IMAGE = ROOT / "docs" / "performance.svg"
GROWTH = "growth"
SUBJECTS = (*NAMES, GROWTH)
WIDTH = 190


def _counts(text: str) -> list[int]:
    return sorted(int(float(each)) for each in text.split(","))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measures the library, each figure beside a floor of the same run."
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=SUBJECTS, metavar="SUBJECT", help=f"one or more of {', '.join(SUBJECTS)}")
    add("--repeat", type=int, help="runs, or pairs with --compare; default: 5, with --quick 1")
    add("--quick", action="store_true", help="small sizes: to see that it works, or how large things changed")
    add("--sizes", type=_counts, help="orders at which growth is measured: 1e3,1e4,1e5,1e6; those that fit into memory")
    add("--events", type=_counts, help="entries of logs at which it is measured: 1e4,1e5,1e6,1e7")
    add("--plot", type=Path, help="where to draw how cost grows: a .png or .svg")
    add("--json", action="store_true", help="everything, for programs")
    add("--markdown", action="store_true", help="the tables as Markdown")
    add("--write-docs", action="store_true", help=f"the tables into {DOCUMENT.relative_to(ROOT)}, and the image")
    add(
        "--compare",
        nargs="+",
        metavar="REV",
        help="the working tree beside a revision, or a second revision beside a first, in turns",
    )
    add(
        "--read",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="measure nothing: show what --json has said; the first file whole, others, of other Pythons, beside it",
    )
    return parser


def main(words: list[str] | None = None) -> None:
    """Run the bench as the arguments say."""
    parser = _parser()
    arguments = parser.parse_args(words)
    quiet()
    if arguments.compare:
        if len(arguments.compare) > 2:
            parser.error("--compare: one revision, or two")
        _compare(arguments)
        return
    found = [Found.read(path) for path in arguments.read] if arguments.read else [_measure(arguments)]
    if arguments.json:
        print(json.dumps(found[0].to_json(), indent=2))
    elif arguments.markdown:
        print(tables.to_markdown(found))
    else:
        tables.show(found, Console(width=WIDTH))
    # Last: whatever is wrong with a file, what was measured was said.
    image = arguments.plot or (IMAGE if arguments.write_docs else None)
    if found[0].points and image is not None:
        from scripts.lib.bench.plot import plot  # what it needs is slow to import, and not everywhere

        plot(found[0].points, image)
    if arguments.write_docs:
        DOCUMENT.write_text(tables.insert(DOCUMENT.read_text(), tables.to_markdown(found)))


def _chosen(arguments: argparse.Namespace) -> list[str]:
    return [name for name in SUBJECTS if name in (arguments.only or SUBJECTS)]


def _measure(arguments: argparse.Namespace) -> Found:
    chosen = _chosen(arguments)
    subjects = [subject(name) for name in chosen if name != GROWTH]
    repeat = arguments.repeat or (1 if arguments.quick else 5)
    runs = []
    for i in range(repeat if subjects else 0):
        say(f"run {i + 1} of {repeat}")
        runs.append(run(subjects, QUICK if arguments.quick else FULL))
    points: Points = {}
    if GROWTH in chosen:
        say(GROWTH)
        orders = arguments.sizes or ([100, 300] if arguments.quick else [1_000, 10_000, 100_000])
        entries = arguments.events or ([1_000, 3_000] if arguments.quick else [10_000, 100_000, 1_000_000])
        points = growth.measure(orders, entries)
    return Found(environment("quick" if arguments.quick else "full"), runs, points)


def _compare(arguments: argparse.Namespace) -> None:
    old, new = (*arguments.compare, None)[:2]
    subjects = [subject(name) for name in _chosen(arguments) if name != GROWTH]
    repeat = arguments.repeat or (1 if arguments.quick else 5)
    pairs, left_out = compare.compare(old, new, subjects, repeat, arguments.quick)
    names = (old, new or compare.HERE)
    if arguments.json:
        print(json.dumps(compare.to_json(subjects, pairs, left_out, names), indent=2))
    else:
        compare.show(subjects, pairs, left_out, names, Console(width=WIDTH))


if __name__ == "__main__":
    main()
