"""The bench's command line. See `scripts.lib.bench`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console

from scripts.lib.bench import compare, growth, report
from scripts.lib.bench.growth import Points
from scripts.lib.bench.places import quiet
from scripts.lib.bench.rows import Figures
from scripts.lib.bench.sizes import FULL, QUICK
from scripts.lib.bench.subjects import NAMES, run, say, subject

DOCUMENT = report.ROOT / "docs" / "performance.md"
IMAGE = report.ROOT / "docs" / "performance.svg"
GROWTH = "growth"
WIDTH = 190


def _counts(text: str) -> list[int]:
    return sorted(int(float(each)) for each in text.split(","))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measures the library, each figure beside a floor."
    )
    parser.add_argument(
        "--only", nargs="+", choices=[*NAMES, GROWTH], metavar="SUBJECT", help=", ".join([*NAMES, GROWTH])
    )
    parser.add_argument("--repeat", type=int, help="runs, or pairs with --compare; default: 5, with --quick 1")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: to see in seconds that it works, or large changes"
    )
    parser.add_argument("--sizes", type=_counts, help="orders at which growth is measured: 1e3,1e4,1e5,1e6 takes 10 GB")
    parser.add_argument("--events", type=_counts, help="entries of logs at which it is measured: 1e4,1e5,1e6,1e7")
    parser.add_argument("--plot", type=Path, help="where to draw how cost grows: a .png or .svg")
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    parser.add_argument("--markdown", action="store_true", help="the table as Markdown")
    parser.add_argument("--write-docs", action="store_true", help="the table and the image into docs/")
    parser.add_argument(
        "--compare", nargs="+", metavar="REV", help="the working tree beside a revision, or a second beside a first"
    )
    return parser


def main(words: list[str] | None = None) -> None:
    """Run the bench as the arguments say."""
    parser = _parser()
    arguments = parser.parse_args(words)
    quiet()
    chosen = arguments.only or [*NAMES, GROWTH]
    subjects = [subject(name) for name in NAMES if name in chosen]
    sizes = QUICK if arguments.quick else FULL
    repeat = arguments.repeat or (1 if arguments.quick else 5)
    if arguments.compare:
        if len(arguments.compare) > 2:
            parser.error("--compare: one revision, or two")
        old, new = (*arguments.compare, None)[:2]
        pairs, left_out = compare.compare(old, new, subjects, repeat, arguments.quick)
        named = (old, new or compare.HERE)
        if arguments.json:
            print(json.dumps(compare.to_json(subjects, pairs, left_out, named), indent=2))
        else:
            compare.show(subjects, pairs, left_out, named, Console(width=WIDTH))
        return
    runs: list[Figures] = []
    for number in range(repeat if subjects else 0):
        say(f"run {number + 1} of {repeat}")
        runs.append(run(subjects, sizes))
    points: Points = {}
    if GROWTH in chosen:
        say("growth")
        orders = arguments.sizes or ([100, 300] if arguments.quick else [1_000, 10_000, 100_000])
        entries = arguments.events or ([1_000, 3_000] if arguments.quick else [10_000, 100_000, 1_000_000])
        points = growth.measure(orders, entries)
    image = arguments.plot or (IMAGE if arguments.write_docs else None)
    if points and image is not None:
        from scripts.lib.bench.plot import plot  # what it needs is slow to import, and not everywhere

        plot(points, image)
    if arguments.write_docs:
        table = report.to_markdown(subjects, runs, points)
        DOCUMENT.write_text(report.insert(DOCUMENT.read_text(), table))
    if arguments.json:
        print(json.dumps(report.to_json(subjects, runs, points), indent=2))
    elif arguments.markdown:
        print(report.to_markdown(subjects, runs, points))
    else:
        report.show(subjects, runs, points, Console(width=WIDTH))


if __name__ == "__main__":
    main()
