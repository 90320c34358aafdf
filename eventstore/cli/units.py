"""Ages and sizes as people write them."""

from __future__ import annotations

import re

import typer

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}


def age_s(text: str) -> float:
    """Read an age such as ``30d``, ``12h``, ``90m`` or ``5s``; return seconds. Raises `typer.BadParameter`."""
    return _scaled(text, _SECONDS, "30d")


def size_bytes(text: str) -> int:
    """Read a size such as ``500MB``; return bytes. Raises `typer.BadParameter`."""
    return int(_scaled(text, _BYTES, "500MB"))


def _scaled(text: str, units: dict[str, int], example: str) -> float:
    found = re.fullmatch(rf"(\d+(?:\.\d+)?)({'|'.join(units)})", text, re.ASCII)
    if found is None:
        raise typer.BadParameter(f"{text!r:.60} is not a number and one of {', '.join(units)}, such as {example}")
    return float(found[1]) * units[found[2]]
