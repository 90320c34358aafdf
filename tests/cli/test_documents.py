"""What the documents show is what happens: their examples are run, their figures compared."""

import contextlib
import io
import re
import shlex
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import msgpack
import pytest

from eventstore import CacheDatabaseConfig, RedisCacheDatabase, commands, schema
from eventstore.keys import Keys
from eventstore.model import TraderId
from eventstore.permissions import EVERYBODY, NEEDED, Grant, sentinel_commands
from tests.support.cli import TRADER, Run, session
from tests.support.processes import ROOT
from tests.support.redis_server import RedisServer

AUDIT = ROOT / "docs" / "audit.md"
LAYOUT = ROOT / "docs" / "redis-layout.md"


def block(document: Path, language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"{document} has {len(found)} blocks of {language}"
    return str(found[0])


def run(code: str) -> str:
    """What the code prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "example", "exec"), {})  # noqa: S102 - the project's own document
    return printed.getvalue()


def test_the_example_of_the_readme_works(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(scratch)
    assert "SUBMITTED True\n" in run(block(ROOT / "README.md", "python"))
    assert (scratch / "trading-data").is_dir()


def test_the_example_that_reads_a_log_without_the_library_works(eventstore: Run, redis_url: str) -> None:
    code = block(LAYOUT, "python").replace("redis://localhost:6379", redis_url)
    code = code.replace("TRADER-001", TRADER) + "\nclient.close()\n"
    assert eventstore("ingest", session("trailing"), "--to", redis_url).returncode == 0
    assert run(code).count("OrderFilled") > 100
    with RedisCacheDatabase(TraderId(TRADER), config=CacheDatabaseConfig(url=redis_url)) as database:
        database.flush()
        database.add("key", b"value")
    names = [line.split()[1] for line in run(code).splitlines()]
    assert names == ["Flushed", "Add", "ClosedWell"]


def test_the_worked_example_of_an_audit_works(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Step by step: each verb ends with the status that is shown, 0 if none is, and the answers are in what it says."""
    monkeypatch.chdir(scratch)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shutil.copy(session("trailing"), scratch)
    text = AUDIT.read_text().partition("## A worked example\n")[2].partition("\n## ")[0]
    said = ""
    for language, block_text in re.findall(r"^```(console|python)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if language == "python":
            said += run(block_text)
            continue
        steps = re.findall(r"^\$ eventstore (.*)\n(?:exit status (\d+)\n)?", block_text, re.MULTILINE)
        assert len(steps) == block_text.count("$ "), block_text
        for arguments, status in steps:
            command = [sys.executable, "-m", "eventstore", *shlex.split(arguments)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == int(status or 0), (arguments, done)
            said += done.stdout
    for answer in (
        "2172  ",
        "opening_order_id: - -> O-20130219-233000-001-000-117",
        "2188  ",
        "OrderFilled SELL 1000000 @ 93.703",
        "probably from",
        "LONG 1000000 93.767\n",
        "FLAT 93.703 -67749 JPY\n",
        "{trader-RECORDER-001}:orders",
        "O-20130219-233000-001-000-117",
    ):
        assert answer in said, (answer, said)


def test_the_worked_example_of_an_entry_says_what_the_bytes_say() -> None:
    payload = bytes.fromhex(block(LAYOUT, "hex"))
    command = commands.decode(payload)
    assert isinstance(command, commands.UpdateOrder)
    assert commands.encode(command) == payload
    tag, version, event_id, *fields = msgpack.unpackb(command.events[0])
    names = schema.TYPES[tag]._fields
    shown = re.findall(r"^\| (\w+) \| .*?`\"?(.*?)\"?`", LAYOUT.read_text().partition("## A worked")[2], re.MULTILINE)
    expected = {"order_id": command.order_id, "version": "1", "status": "5", "emulated": "false"}
    said = {name: str(value) for name, value in zip(names[1:], fields, strict=True) if value is not None}
    expected |= {"event_id": str(uuid.UUID(bytes=event_id))} | said
    assert (tag, version) == (14, 2)
    assert schema.LEFT_OUT.keys() == set(names[1:]) - said.keys()
    assert dict(shown) == expected


def test_every_key_kind_and_tag_is_documented() -> None:
    text = LAYOUT.read_text()
    keys = Keys(TraderId("T-1"))
    for name in [keys.log, keys.writer, keys.schema, *keys.fixed_views()]:
        assert f"`{{ns}}:{name.removeprefix(keys.prefix)}`" in text
    rows = {
        int(n): (name, fields) for n, name, fields in re.findall(r"^\| (\d+) \| (\w+) \| (.*) \|$", text, re.MULTILINE)
    }
    assert {number: name for number, (name, _) in rows.items()} == {
        number: kind.__name__ for number, kind in commands.COMMANDS.items()
    }
    for number, kind in commands.COMMANDS.items():
        assert all(re.search(rf"\b{field}\b", rows[number][1]) for field in kind._fields), rows[number]


def test_a_user_with_the_documented_permissions_can_write_and_read(
    eventstore: Run, redis_url: str, redis_server: RedisServer
) -> None:
    rules = block(LAYOUT, "acl").replace("TRADER-001", TRADER).replace("PASSWORD", "pass").split()
    with redis_server.client() as client:
        client.execute_command(*rules)
        try:
            url = f"unix://node:pass@{redis_server.socket_path}"
            done = eventstore("ingest", session("trailing"), "--to", url)
            assert (done.returncode, done.stderr) == (0, "")
            assert eventstore("status", url, "--trader", TRADER).returncode == 0
            assert eventstore("purge", url, "--trader", TRADER, "--older-than", "36500d").returncode == 0
            config = CacheDatabaseConfig(url=url)
            with RedisCacheDatabase(TraderId(TRADER), config=config) as database:
                assert database.load_all()["orders"]
                assert database.load_orders(open_only=True) == {}
                assert database.purge(older_than_s=0, account_events=True).orders
                assert database.load_orders() == {}
                database.flush()
                assert database.keys() != []
        finally:
            client.acl_deluser("node")


def test_the_documented_permissions_are_those_that_are_printed(eventstore: Run) -> None:
    printed = eventstore("acl", "--trader", "TRADER-001", "--role", "writer", "--role", "reader", "--name", "node")
    assert block(LAYOUT, "acl").split() == printed.stdout.split()
    text = LAYOUT.read_text().partition("## What the server has to allow\n")[2].partition("\n## ")[0]
    words = block(LAYOUT, "tasks").split()
    documented: dict[str, list[str]] = {}
    for word in words:
        if word.endswith(":"):
            commands_of = documented[word.removesuffix(":")] = []
        else:
            commands_of.append(word)
    assert documented == {task: sorted({*EVERYBODY, *needed}) for task, needed in NEEDED.items()}
    for command in sentinel_commands(replicas=True):
        assert f"`{command}`" in text
    for topology, extra in (
        ("plain", "role"),
        ("sentinel", "role"),
        ("cluster", "cluster|slots"),
        ("cluster", "readonly"),
    ):
        assert extra in Grant(tasks=[], trader_id=TraderId("T-1"), topology=topology, replicas=True).commands()
        assert f"`{extra}`" in text
    assert "cluster|info" in Grant(tasks=["doctor"], topology="cluster").commands()
    assert "`cluster|info`" in text
