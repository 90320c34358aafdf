"""The bytes of every schema version, as they are in logs that exist: what is written now, and read forever.

``EVENTSTORE_WRITE_GOLDEN=1 pytest tests/test_golden.py`` adds what has no golden bytes yet. It never changes what has.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventstore import codec, states
from eventstore import commands as c
from eventstore.place import Place
from eventstore.schema import AMENDMENTS_TAG, FORMER, SHORT_SINCE, SNAPSHOTS, STATE_TAG, TYPES, VERSIONS
from tests.support import specimens
from tests.support.strategies import same

FILE = Path(__file__).parent / "data/golden.json"
TEXT = codec.MsgPackSerializer(timestamps_as_str=True)
NUMBER = codec.MsgPackSerializer(timestamps_as_str=False)


def plain(value: Any) -> Any:
    """`value` as it is in a JSON file; bytes as hexadecimal text."""
    return json.loads(json.dumps(value, default=lambda data: data.hex()))


def at_its_place(tag: int) -> tuple[Any, Place]:
    """An order's event of which everything is left out that may be, and where it stands then."""
    event: Any = specimens.records()[tag]
    return event.replace(ts_init=event.ts_event), (event.trader_id, event.client_order_id)


def written() -> dict[str, dict[str, Any]]:
    """What today's code writes, by a name that says tag and version, and what it is."""
    found: dict[str, dict[str, Any]] = {}
    for tag, record in specimens.records().items():
        found[f"record:{tag}:{VERSIONS[tag]}"] = {
            "hex": TEXT.serialize(record).hex(),
            "hex_numbers": NUMBER.serialize(record).hex(),
            "shown": plain(record.to_dict()),
        }
    for tag in SHORT_SINCE:
        event, place = at_its_place(tag)
        found[f"short:{tag}:{VERSIONS[tag]}"] = {
            "hex": TEXT.serialize(event, place).hex(),
            "hex_numbers": NUMBER.serialize(event, place).hex(),
            "shown": plain(event.to_dict()),
        }
    for tag, values in specimens.snapshots().items():
        found[f"snapshot:{tag}:{VERSIONS[tag]}"] = {
            "hex": states.pack_snapshot(values, timestamps_as_str=True).hex(),
            "hex_numbers": states.pack_snapshot(values, timestamps_as_str=False).hex(),
            "shown": plain(values),
        }
    for number, command in specimens.commands().items():
        data = c.encode(command)
        found[f"command:{number}:{c.VERSION}"] = {"hex": data.hex(), "shown": plain(list(command))}
    amended = specimens.AMENDMENTS
    found[f"amendments:{VERSIONS[AMENDMENTS_TAG]}"] = {
        "hex": states.pack_amended(amended).hex(),
        "shown": plain([[count, name, value and str(value)] for count, name, value in amended]),
    }
    found[f"state:{VERSIONS[STATE_TAG]}"] = {
        "hex": states.pack_state(specimens.STATE).hex(),
        "shown": plain(specimens.STATE),
    }
    return found


def golden() -> dict[str, dict[str, Any]]:
    known: dict[str, dict[str, Any]] = json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
    if os.environ.get("EVENTSTORE_WRITE_GOLDEN"):
        known = written() | known
        FILE.write_text(json.dumps(known, indent=1, ensure_ascii=False, sort_keys=True) + "\n", "utf-8")
    return known


GOLDEN = golden()


def of(family: str) -> list[tuple[str, dict[str, Any]]]:
    return [(name, entry) for name, entry in GOLDEN.items() if name.startswith(family)]


def test_everything_that_is_stored_has_golden_bytes() -> None:
    """Each record tag, snapshot tag and command kind, at each version that was ever written."""
    for family, tags in (("record", TYPES), ("snapshot", SNAPSHOTS)):
        versions = {f"{family}:{tag}:{version}" for tag in tags for version in range(1, VERSIONS[tag] + 1)}
        assert versions == {name for name, _ in of(f"{family}:")}
    short = {f"short:{tag}:{v}" for tag, since in SHORT_SINCE.items() for v in range(since, VERSIONS[tag] + 1)}
    assert short == {name for name, _ in of("short:")}
    assert {f"command:{number}:1" for number in c.COMMANDS} <= GOLDEN.keys()
    assert {"amendments:1", "state:1"} <= GOLDEN.keys()


@pytest.mark.parametrize(("name", "entry"), written().items(), ids=list(written()))
def test_todays_code_writes_the_golden_bytes(name: str, entry: dict[str, Any]) -> None:
    """To the byte: a log is hashed, and other languages read it."""
    assert entry == GOLDEN[name]


@pytest.mark.parametrize(("name", "entry"), of("record:"))
@pytest.mark.parametrize("form", ["hex", "hex_numbers"])
@pytest.mark.parametrize("serializer", [TEXT, NUMBER])
def test_golden_records_are_read(
    name: str, entry: dict[str, Any], form: str, serializer: codec.MsgPackSerializer
) -> None:
    """Whichever form the times have, and whichever form the reader writes; of whichever version they are."""
    tag, version = (int(number) for number in name.split(":")[1:])
    record = serializer.deserialize(bytes.fromhex(entry[form]))
    later = {name: value for name, value in specimens.later_fields(tag, version).items() if value is not None}
    assert plain(record.to_dict()) == entry["shown"] | later
    assert same(record, specimens.record_of_version(tag, version))


@pytest.mark.parametrize(("name", "entry"), of("short:"))
@pytest.mark.parametrize("form", ["hex", "hex_numbers"])
def test_golden_records_of_orders_are_read_at_their_place(name: str, entry: dict[str, Any], form: str) -> None:
    event, place = at_its_place(int(name.split(":")[1]))
    record = TEXT.deserialize(bytes.fromhex(entry[form]), place)
    assert plain(record.to_dict()) == entry["shown"]
    assert same(record, event)


@pytest.mark.parametrize(("tag", "version"), FORMER)
def test_a_former_version_lacks_what_later_ones_added_at_the_end(tag: int, version: int) -> None:
    """So its fields are named as they were, and what it does not say is what a record says by default."""
    added = specimens.later_fields(tag, version)
    kind = TYPES[tag]
    assert (*FORMER[tag, version], *added) == kind._fields
    assert tuple(added.values()) == kind._defaults[len(kind._defaults) - len(added) :]


@pytest.mark.parametrize(("name", "entry"), of("snapshot:"))
@pytest.mark.parametrize("form", ["hex", "hex_numbers"])
def test_golden_snapshots_are_read(name: str, entry: dict[str, Any], form: str) -> None:
    shown = states.unpack_snapshot(bytes.fromhex(entry[form]))
    assert plain(shown) == entry["shown"]
    assert list(shown) == list(specimens.snapshots()[int(name.split(":")[1])])


@pytest.mark.parametrize(("name", "entry"), of("command:"))
def test_golden_commands_are_read(name: str, entry: dict[str, Any]) -> None:
    command = c.decode(bytes.fromhex(entry["hex"]))
    assert command == specimens.commands()[int(name.split(":")[1])]
    assert plain(list(command)) == entry["shown"]


def test_golden_states_and_amendments_are_read() -> None:
    read: list[tuple[str, Callable[[bytes], Any], Any]] = [
        ("state:1", states.unpack_state, specimens.STATE),
        ("amendments:1", states.unpack_amended, specimens.AMENDMENTS),
    ]
    for name, unpack, expected in read:
        assert unpack(bytes.fromhex(GOLDEN[name]["hex"])) == expected
