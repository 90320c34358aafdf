"""Anchors: noted, signed, read again, and held against the log."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from eventstore import commands as c
from eventstore.audit import Anchor, SigningKey, VerifyingKey, anchor, append_anchor, open_log, read_anchors
from eventstore.audit.verification.anchor import canonical
from eventstore.errors import AuditError
from eventstore.model.identifiers import TraderId
from tests.support.archives import Writer, archive
from tests.support.databases import TRADER
from tests.support.effort import effort
from tests.support.redis_server import RedisServer
from tests.support.tampering import findings, rows, verified, write_story

PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


@pytest.fixture
def client(redis_server: RedisServer, redis_url: str) -> Iterator[Redis]:
    with redis_server.client(protocol=2) as connection:
        write_story(connection)
        yield connection


def keys(directory: Path, name: str = "key", kind: Any = None) -> tuple[Path, Path]:
    """A new private key and its public one."""
    key = Ed25519PrivateKey.generate() if kind is None else kind
    private, public = directory / f"{name}.pem", directory / f"{name}.pub"
    private.write_bytes(key.private_bytes(PEM, PKCS8, serialization.NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(PEM, SPKI))
    return private, public


def noted(url: str, archived: Path | None = None) -> Anchor:
    with open_log(url, TRADER, archived) as log:
        return anchor(log)


def test_an_anchor_says_where_the_log_ends(client: Redis, redis_url: str) -> None:
    made = noted(redis_url)
    last = rows(client)[-1]
    assert (made.trader_id, made.position, made.chain) == (TRADER, last.position, last.fields[3])
    assert made.entry_id == last.entry_id.decode()
    assert made.accepted_ms == int(last.entry_id.partition(b"-")[0])
    assert made.host == socket.gethostname()
    assert made.made_ns > made.accepted_ms * 1_000_000


def test_an_archive_alone_can_be_noted(client: Redis, redis_url: str, tmp_path: Path) -> None:
    archive(redis_url, tmp_path)
    made = noted(str(tmp_path))
    with open_log(tmp_path, TRADER) as log:
        assert (made.position, made.chain) == log.end()
    assert made.entry_id.endswith(f"-{made.position}")
    append_anchor(tmp_path / "anchors", made.described())
    assert findings(redis_url, tmp_path, anchors=read_anchors(tmp_path / "anchors", TRADER)) == []
    # It is where what is left at the server begins.
    assert findings(redis_url, anchors=read_anchors(tmp_path / "anchors", TRADER)) == []


def test_an_empty_log_has_nothing_to_note(client: Redis, redis_url: str) -> None:
    client.flushdb()
    with Writer(client):
        pass
    with pytest.raises(AuditError, match="is empty"):
        noted(redis_url)


def test_a_log_meets_every_anchor_that_was_noted_of_it(client: Redis, redis_url: str, tmp_path: Path) -> None:
    """Noted between its batches, whatever came later, a flush and an archiving included."""
    path = tmp_path / "anchors"
    with Writer(client) as writer:
        for n in range(20):
            append_anchor(path, noted(redis_url).described())
            writer.batch([c.Add(f"key-{i}", b"%d" % n) for i in range(n % 4 + 1)], later_ms=1)
    anchors = read_anchors(path, TRADER)
    assert len(anchors) == 20
    assert verified(redis_url, anchors=anchors).anchors == 20
    assert findings(redis_url, anchors=anchors) == []
    archive(redis_url, tmp_path / "archive")
    assert findings(redis_url, tmp_path / "archive", anchors=anchors) == []
    lost = findings(redis_url, anchors=anchors)
    assert {each.kind for each in lost} == {"anchor"}
    assert all("is there an archive?" in each.message for each in lost)
    with Writer(client) as writer:
        writer.batch([c.Flushed(0, b"")])
    assert findings(redis_url, tmp_path / "archive", anchors=anchors) == []


def test_an_anchor_of_another_log_is_not_met(client: Redis, redis_url: str, tmp_path: Path) -> None:
    """Another head at a place where a batch ends, or a place where none does."""
    made = noted(redis_url)
    for position, reason in ((4, "another chain head"), (3, "no batch ends there"), (1000, "the tail was cut")):
        path = tmp_path / str(position)
        append_anchor(path, made._replace(position=position).described())
        [finding] = findings(redis_url, anchors=read_anchors(path, TRADER))
        assert (finding.kind, finding.position, finding.file, finding.offset) == ("anchor", position, str(path), 1)
        assert reason in finding.message


# -- Files -----------------------------------------------------------------------------------------------------

ANCHOR = Anchor(TRADER, 7, bytes(range(32)), "1700000000000-7", 1_700_000_000_000, 1_700_000_000_123_456_789, "h", "1")


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """In the order of the file; those of another trader are left out; a line that was cut off does not eat the next."""
    path = tmp_path / "anchors"
    other = ANCHOR._replace(trader_id=TraderId("OTHER-1"))
    made = [ANCHOR, other, ANCHOR._replace(position=8), ANCHOR._replace(position=9)]
    for each in made:
        append_anchor(path, each.described())
    found = read_anchors(path, TRADER)
    assert [each.anchor for each in found] == [made[0], made[2], made[3]]
    assert [each.line for each in found] == [1, 3, 4]
    path.write_bytes(path.read_bytes()[:-10])
    append_anchor(path, ANCHOR.described())
    with pytest.raises(AuditError, match=f"{path}:4"):
        read_anchors(path, TRADER)


def test_a_file_that_has_no_anchor_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="read the anchors"):
        read_anchors(tmp_path / "nothing", TRADER)
    path = tmp_path / "anchors"
    path.write_bytes(b"")
    with pytest.raises(AuditError, match="has no anchor of"):
        read_anchors(path, TRADER)
    with pytest.raises(AuditError, match="write the anchor"):
        append_anchor(tmp_path, ANCHOR.described())


WRONG: list[Any] = [
    [],
    7,
    ANCHOR.described() | {"format": 2},
    ANCHOR.described() | {"position": "7"},
    ANCHOR.described() | {"position": -7},
    ANCHOR.described() | {"position": True},
    ANCHOR.described() | {"chain": "ab"},
    ANCHOR.described() | {"chain": 7},
    ANCHOR.described() | {"trader_id": "no id"},
    {name: value for name, value in ANCHOR.described().items() if name != "entry_id"},
]


@pytest.mark.parametrize("said", WRONG, ids=lambda said: json.dumps(said)[-30:])
def test_a_line_that_is_no_anchor_is_named(tmp_path: Path, said: Any) -> None:
    path = tmp_path / "anchors"
    append_anchor(path, ANCHOR.described())
    append_anchor(path, said)
    with pytest.raises(AuditError, match=f"{path}:2"):
        read_anchors(path, TRADER)


# -- Signatures ------------------------------------------------------------------------------------------------


def test_a_signed_anchor_is_taken_with_its_key_and_with_no_other(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    _, other = keys(tmp_path, "other")
    path = tmp_path / "anchors"
    append_anchor(path, SigningKey(private).signed(ANCHOR.described()))
    assert [each.anchor for each in read_anchors(path, TRADER, VerifyingKey(public).check)] == [ANCHOR]
    assert [each.anchor for each in read_anchors(path, TRADER)] == [ANCHOR]
    with pytest.raises(AuditError, match="signed with another key"):
        read_anchors(path, TRADER, VerifyingKey(other).check)
    append_anchor(path, ANCHOR.described())
    with pytest.raises(AuditError, match="anchors:2: the anchor is not signed"):
        read_anchors(path, TRADER, VerifyingKey(public).check)


@effort(60)
@given(st.data())
def test_a_signed_anchor_that_was_changed_in_any_place_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Also by a field that was added or taken away, or a signature of another anchor."""
    directory = tmp_path_factory.mktemp("keys")
    private, public = keys(directory)
    signed = SigningKey(private).signed(ANCHOR.described())
    changed = dict(signed)
    name = data.draw(st.sampled_from([*signed, "more"]))
    values = {
        "format": st.just(1.0),
        "position": st.integers(8, 1000),
        "accepted_ms": st.integers(0, 1000),
        "made_ns": st.integers(0, 1000),
        "host": st.text(min_size=2),
        "library": st.text(min_size=2),
        "entry_id": st.text(),
        "more": st.integers(),
    }
    digits = st.text("0123456789abcdef", min_size=64, max_size=64)
    changed[name] = data.draw(values.get(name, digits))
    if name == "trader_id":
        changed[name] = "OTHER-1"
    path = directory / "anchors"
    append_anchor(path, changed)
    with pytest.raises(AuditError, match=str(path)):
        read_anchors(path, TraderId(changed["trader_id"]), VerifyingKey(public).check)


def test_what_is_signed_is_the_documented_text(tmp_path: Path) -> None:
    """Anybody can check it: the line's fields without the signature, by name, as JSON without spaces, in ASCII."""
    private, _ = keys(tmp_path)
    said = SigningKey(private).signed(ANCHOR._replace(host="hübsch").described())
    text = canonical(said).decode("ascii")
    assert text.startswith('eventstore anchor\n{"accepted_ms":1700000000000,"chain":"000102')
    assert '"host":"h\\u00fcbsch"' in text
    assert "signature" not in text
    key = serialization.load_pem_private_key(private.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    assert key.sign(text.encode()).hex() == said["signature"]
    assert key.public_key().public_bytes_raw().hex() == said["public_key"]


def test_keys_that_can_not_be_used_are_named(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    curve, curve_public = keys(tmp_path, "curve", generate_private_key(SECP256R1()))
    encrypted = tmp_path / "encrypted"
    encrypted.write_bytes(
        Ed25519PrivateKey.generate().private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"secret"))
    )
    for path, reason in (
        (tmp_path / "nothing", "read the key"),
        (public, "not a private key"),
        (curve, "not an Ed25519 key"),
        (encrypted, "encrypted"),
    ):
        with pytest.raises(AuditError, match=reason):
            SigningKey(path)
    for path, reason in (
        (tmp_path / "nothing", "read the key"),
        (private, "not a public key"),
        (curve_public, "not an Ed25519 key"),
    ):
        with pytest.raises(AuditError, match=reason):
            VerifyingKey(path)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl here")
def test_the_documented_commands_make_a_key(tmp_path: Path) -> None:
    private, public = tmp_path / "key.pem", tmp_path / "key.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    append_anchor(tmp_path / "anchors", SigningKey(private).signed(ANCHOR.described()))
    assert read_anchors(tmp_path / "anchors", TRADER, VerifyingKey(public).check)


def test_without_the_package_the_error_says_what_to_install(tmp_path: Path) -> None:
    """And what does not sign does not need it."""
    private, _ = keys(tmp_path)
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from eventstore.audit import SigningKey\n"
        "from eventstore.errors import AuditError\n"
        "import eventstore.cli\n"
        "try:\n"
        f"    SigningKey({str(private)!r})\n"
        "except AuditError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'eventstore[sign]'" in done.stdout
