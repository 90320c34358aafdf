"""Settings from the environment."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from eventstore.config import CacheDatabaseConfig
from eventstore.errors import ConfigError


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in fields(CacheDatabaseConfig):
        monkeypatch.delenv(f"EVENTSTORE_{field.name.upper()}", raising=False)


def test_what_is_not_set_has_its_default() -> None:
    assert CacheDatabaseConfig.from_environment() == CacheDatabaseConfig()


def test_every_setting_has_a_variable_of_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: dict[str, object] = {
        "url": "redis://localhost:1",
        "on_full": "spill",
        "durability": "replicated(1)",
        "journal_fsync": "always",
        "journal": str(tmp_path / "journal"),
        "aside": str(tmp_path / "aside"),
        "archive": str(tmp_path / "archive"),
        "heartbeat_interval_s": 7.5,
        "purge_closed_after_s": 60.0,
        "archive_after_s": 3600.0,
        "archive_keep_entries": 9,
    }
    for field in fields(CacheDatabaseConfig):
        if field.name in ("directory", "credentials"):
            continue  # it goes with no url; it is a program's
        if field.name not in given:
            given[field.name] = _another(field.default)
        monkeypatch.setenv(f"EVENTSTORE_{field.name.upper()}", str(given[field.name]))
    config = CacheDatabaseConfig.from_environment()
    assert {name: getattr(config, name) for name in given} == given
    assert all(type(getattr(config, name)) is type(value) for name, value in given.items())


def _another(default: object) -> object:
    if isinstance(default, bool):
        return not default
    assert isinstance(default, int | float)
    return default * 2 if default else type(default)(1)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("TIMEOUT_S", "soon", "a number"),
        ("BATCH_COUNT_MAX", "1.5", "a whole number"),
        ("STRICT_LOADS", "yes", "true or false"),
        ("TIMEOUT_S", "", "a number"),
    ],
)
def test_what_can_not_be_read_is_named(monkeypatch: pytest.MonkeyPatch, name: str, text: str, expected: str) -> None:
    monkeypatch.setenv(f"EVENTSTORE_{name}", text)
    with pytest.raises(ConfigError, match=f"EVENTSTORE_{name}: expected {expected}"):
        CacheDatabaseConfig.from_environment()


@pytest.mark.parametrize("name", ["URL", "DIRECTORY", "JOURNAL", "ARCHIVE", "ASIDE"])
def test_a_place_that_is_empty_is_not_the_present_directory(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"EVENTSTORE_{name}", "")
    with pytest.raises(ConfigError, match=f"EVENTSTORE_{name}: it is empty"):
        CacheDatabaseConfig.from_environment()


def test_bounds_hold_for_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTSTORE_BATCH_COUNT_MAX", "0")
    with pytest.raises(ConfigError, match="batch_count_max"):
        CacheDatabaseConfig.from_environment()
