"""The growth of costs, as an image."""

from __future__ import annotations

from pathlib import Path

from scripts.lib.bench.growth import SERIES, Points, fits


def plot(points: Points, path: Path) -> None:
    """Draw what a thing costs by how many there are, where a flat line is linear growth, and write it to `path`."""
    # Not needed by what measures, and slow to import.
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "bench"  # the same image of the same points
    figure, axes = plt.subplots(2, 2, figsize=(11, 7), layout="constrained")
    grown = fits(points)
    for row, thing in zip(axes, ("order", "entry"), strict=True):
        for axis, unit in zip(row, ("s", "B"), strict=True):
            scale, name = (1e6, "µs") if unit == "s" else (1, "bytes")
            for series in SERIES:
                if (series.thing, series.unit) != (thing, unit) or series.figure not in grown:
                    continue
                sizes = [size for size, _ in points[series.figure]]
                each = [scale * cost / size for size, cost in points[series.figure]]
                fit = grown[series.figure]
                (drawn,) = axis.plot(
                    sizes, each, "o", label=f"{series.what}: n^{fit.exponent:.2f}, {scale * fit.each:,.3g} {name} each"
                )
                fitted = [scale * (fit.fixed + fit.each * size) / size for size in sizes]
                axis.plot(sizes, fitted, "-", color=drawn.get_color(), linewidth=1, alpha=0.7)
            axis.set_xscale("log")
            axis.set_ylim(bottom=0)
            axis.set_xlabel("orders of 4 events" if thing == "order" else "entries of the log")
            axis.set_ylabel(f"{name} for each {thing}")
            axis.grid(visible=True, alpha=0.3)
            if axis.lines:
                axis.legend(fontsize="small")
    figure.suptitle("What a thing costs, by how many there are: points measured, lines fitted")
    figure.savefig(path, dpi=110, metadata={"Software": None} if path.suffix == ".png" else {"Date": None})
    plt.close(figure)
