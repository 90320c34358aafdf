"""`eventstore verify` and `eventstore anchor`: documented contracts."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from redis import Redis

from eventstore.audit.verification.findings import KINDS
from tests.support.archives import archive
from tests.support.cli import Run, assert_documented, assert_one_line_error, documented_fields
from tests.support.databases import TRADER
from tests.support.processes import ROOT
from tests.support.redis_server import RedisServer
from tests.support.tampering import KEYS, forge, rows, write_story


@pytest.fixture
def client(redis_server: RedisServer, redis_url: str) -> Iterator[Redis]:
    with redis_server.client(protocol=2) as connection:
        write_story(connection)
        yield connection


def key_pair(directory: Path) -> tuple[Path, Path]:
    key = Ed25519PrivateKey.generate()
    private, public = directory / "key.pem", directory / "key.pub"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def failed(done: subprocess.CompletedProcess[str], *said: str) -> None:
    assert done.returncode == 1, done
    assert done.stderr.startswith("error: the log of TRADER-001 does not verify")
    for each in said:
        assert each in done.stdout


def test_a_clean_log_says_what_was_verified(eventstore: Run, client: Redis, redis_url: str, tmp_path: Path) -> None:
    done = eventstore("verify", redis_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{len(rows(client))} entries in 9 batches, from the beginning" in done.stdout
    assert "keys compared with what the log gives" in done.stdout
    done = eventstore("verify", redis_url, "--no-views")
    assert "not compared: that was not asked for" in done.stdout
    archive(redis_url, tmp_path)
    done = eventstore("verify", redis_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "not compared: the beginning of the log was archived" in done.stdout
    assert "and not those before it" in done.stdout
    done = eventstore("verify", redis_url, "--archive", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 segment; 0 entries that the server has, too" in done.stdout


def test_json_is_the_documented_contract(eventstore: Run, client: Redis, redis_url: str) -> None:
    done = eventstore("verify", redis_url, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    clean = json.loads(done.stdout)
    assert (clean["clean"], clean["counts"], clean["findings"]) == (True, {}, [])
    client.hset(KEYS.general, "key", "edited")
    done = eventstore("verify", redis_url, "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert_documented(report, "verify")
    assert report["counts"] == {"view_different": 1}
    [finding] = report["findings"]
    assert (finding["key"], finding["field"]) == (KEYS.general, "key")
    assert (finding["expected"], finding["found"]) == ("another value", "edited")


def test_findings_are_printed_and_fail(eventstore: Run, client: Redis, redis_url: str) -> None:
    client.hset(KEYS.general, "key", "[bold]edited")
    failed(eventstore("verify", redis_url), "general key is [bold]edited, and the log gives another value")


def test_every_kind_of_finding_is_documented() -> None:
    section = (
        (ROOT / "docs" / "cli.md").read_text().partition("## `eventstore verify ")[2].partition("With `--json`")[0]
    )
    table = section.partition("| a finding is")[2]
    assert [kind for kind in KINDS if f"`{kind}`" not in table] == []


def test_anchors_are_noted_signed_and_checked(eventstore: Run, client: Redis, redis_url: str, tmp_path: Path) -> None:
    private, public = key_pair(tmp_path)
    path = tmp_path / "anchors.jsonl"
    done = eventstore("anchor", redis_url, "--append", path, "--sign", private)
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(client)[-1].fields[3].hex() in done.stdout
    done = eventstore("anchor", redis_url, "--append", path, "--sign", private, "--json")
    said = json.loads(done.stdout)
    assert_documented(said, "anchor")
    assert json.loads(path.read_text().splitlines()[1]) == said
    checked = eventstore("verify", redis_url, "--anchor", path, "--public-key", public, "--json")
    assert json.loads(checked.stdout)["anchors"] == {"count": 2, "signatures_checked": True}
    assert checked.returncode == 0
    forge(client, rows(client)[:-1])
    done = eventstore("verify", redis_url, "--no-views")
    assert done.returncode == 0
    failed(
        eventstore("verify", redis_url, "--no-views", "--anchor", path), "the tail was cut", f"{path}:1", f"{path}:2"
    )
    path.write_text(path.read_text().replace('"host"', '"hosts"'))
    assert_one_line_error(eventstore("verify", redis_url, "--anchor", path), f"{path}:1", "not an anchor")


def test_an_anchor_without_signature_has_the_documented_fields(eventstore: Run, client: Redis, redis_url: str) -> None:
    done = eventstore("anchor", redis_url, "--json")
    assert set(json.loads(done.stdout)) == set(documented_fields("anchor")) - {"public_key", "signature"}


def test_a_checkpoint_is_a_position_and_a_head(eventstore: Run, client: Redis, redis_url: str) -> None:
    said = json.loads(eventstore("anchor", redis_url, "--json").stdout)
    log = rows(client)
    head = next(row.fields[3] for row in log if row.position == 9)
    done = eventstore("verify", redis_url, "--checkpoint", f"9:{head.hex()}")
    assert done.returncode == 0
    assert "behind position 9" in done.stdout
    failed(eventstore("verify", redis_url, "--checkpoint", f"9:{said['chain']}"), "chain:")


def test_wrong_usage_is_told(eventstore: Run, client: Redis, redis_url: str, tmp_path: Path) -> None:
    for arguments in (["--checkpoint", "9"], ["--checkpoint", "9:ab"], ["--public-key", tmp_path]):
        assert eventstore("verify", redis_url, *arguments).returncode == 2
    assert_one_line_error(eventstore("verify", redis_url, "--anchor", tmp_path / "none"), "read the anchors")
    assert_one_line_error(eventstore("verify", redis_url, "--trader", "NOBODY-1"), "NOBODY-1 has no log")
    assert_one_line_error(eventstore("anchor", redis_url, "--sign", tmp_path / "none"), "read the key")
    assert TRADER in eventstore("anchor", redis_url).stdout


def test_a_reader_with_the_documented_permissions_can_verify(
    eventstore: Run, client: Redis, redis_server: RedisServer
) -> None:
    client.execute_command(
        "ACL", "SETUSER", "auditor", "on", ">pass", "~*", "-@all", "+@read", "+@connection", "+multi", "+exec"
    )
    try:
        done = eventstore("verify", f"unix://auditor:pass@{redis_server.socket_path}")
        assert (done.returncode, done.stderr) == (0, "")
        done = eventstore("anchor", f"unix://auditor:pass@{redis_server.socket_path}")
        assert (done.returncode, done.stderr) == (0, "")
    finally:
        client.acl_deluser("auditor")
