"""One subject, measured with whatever library is on the path: a turn of a comparison. Says what came of it as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import eventstore
from scripts.lib.bench.places import in_process, quiet
from scripts.lib.bench.sizes import FULL, QUICK
from scripts.lib.bench.subjects import subject


def main(name: str, size: str) -> None:
    """Measure `name`, "quick" or "full". Whatever this revision can not do, it says."""
    quiet()
    said = {"library": str(Path(eventstore.__file__).parent), "figures": {}, "left_out": None}
    try:
        said["figures"] = in_process(subject(name).measure, QUICK if size == "quick" else FULL)
    except Exception as error:  # noqa: BLE001 - an older revision may lack anything
        said["left_out"] = f"{type(error).__name__}: {error}"
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
