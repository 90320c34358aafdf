"""The integrations, where what they integrate is not installed."""

from __future__ import annotations

import subprocess
import sys

from tests.support.processes import ROOT

WITHOUT = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "nautilus_trader":
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Hidden())
import eventstore.integrations.nautilus
"""


def test_without_nautilus_trader_it_is_said_how_to_install_it() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False, cwd=ROOT)
    said = "eventstore.integrations.nautilus needs NautilusTrader: pip install 'eventstore[nautilus]'"
    assert done.stderr.splitlines()[-1] == f"ModuleNotFoundError: {said}"
