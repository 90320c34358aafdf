"""How a cost grows with size: least squares. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Line(NamedTuple):
    """``y = at_zero + slope * x``, and the share of the variance of y that it explains."""

    at_zero: float
    slope: float
    r2: float


class Growth(NamedTuple):
    """A cost as a power of size, ``n ** exponent``; and as a line, with a part that is fixed and one for each thing."""

    exponent: float
    power_r2: float
    fixed: float
    each: float
    line_r2: float


def line(points: Sequence[tuple[float, float]], weights: Sequence[float] | None = None) -> Line:
    """Fit a line through at least two points of different x, where some may weigh more."""
    weights = [1.0] * len(points) if weights is None else weights
    total = sum(weights)
    mean_x = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
    mean_y = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
    of_x = sum(w * (x - mean_x) ** 2 for w, (x, _) in zip(weights, points, strict=True))
    of_y = sum(w * (y - mean_y) ** 2 for w, (_, y) in zip(weights, points, strict=True))
    both = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weights, points, strict=True))
    slope = both / of_x
    return Line(mean_y - slope * mean_x, slope, 1.0 if not of_y else both**2 / (of_x * of_y))


def growth(points: Sequence[tuple[float, float]]) -> Growth:
    """Fit costs of sizes; all are greater than zero.

    The line is fitted to what is relative to each cost, or the largest alone would decide it.
    """
    power = line([(math.log(n), math.log(cost)) for n, cost in points])
    linear = line(points, [1 / cost**2 for _, cost in points])
    return Growth(power.slope, power.r2, linear.at_zero, linear.slope, linear.r2)
