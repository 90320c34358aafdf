"""docs/settings.md has every setting, once, with its default."""

from __future__ import annotations

import re
from dataclasses import fields

from eventstore.config import CacheDatabaseConfig
from tests.support.processes import ROOT


def test_every_setting_is_on_the_page_with_its_default() -> None:
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", page, re.MULTILINE)
    assert sorted(rows) == sorted((setting.name, repr(setting.default)) for setting in fields(CacheDatabaseConfig))
