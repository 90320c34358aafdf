"""The torn end of an append-only file: what a crash can leave is recognised, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.errors import EmbeddedServerError
from eventstore.storage.torn_end import TornEnd, cut, find_torn_end, is_torn
from tests.support.effort import effort
from tests.support.torn_files import EXEC, MULTI, write


def command(arguments: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(arguments) + b"".join(b"$%d\r\n%s\r\n" % (len(each), each) for each in arguments)


ARGUMENTS = st.binary(max_size=40) | st.sampled_from([b"", b"\r\n", b"*1\r\n", b"$5\r\n", b"MULTI", b"EXEC", b"\0\0"])
NAMES = st.sampled_from([b"XADD", b"HSET", b"hset", b"SADD", b"RENAME"])
COMMANDS = st.builds(lambda name, rest: command([name, *rest]), NAMES, st.lists(ARGUMENTS, max_size=4))
TRANSACTIONS = st.lists(COMMANDS, min_size=1, max_size=4).map(lambda commands: MULTI + b"".join(commands) + EXEC)
ZEROS = st.integers(0, 100).map(bytes)


@effort(300)
@given(data=st.data(), whole=COMMANDS | TRANSACTIONS, zeros=ZEROS)
def test_every_beginning_of_a_transaction_or_a_command_is_torn(data: st.DataObject, whole: bytes, zeros: bytes) -> None:
    size = data.draw(st.integers(0, len(whole) - 1))
    assert is_torn(whole[:size] + zeros)


@effort(300)
@given(data=st.data(), whole=COMMANDS | TRANSACTIONS, next_one=COMMANDS | TRANSACTIONS, zeros=ZEROS)
def test_nothing_whole_is_ever_torn_whatever_follows(
    data: st.DataObject, whole: bytes, next_one: bytes, zeros: bytes
) -> None:
    size = data.draw(st.integers(0, len(next_one)))
    assert not is_torn(whole + next_one[:size] + zeros)


@effort(300)
@given(data=st.data(), past=TRANSACTIONS, last=TRANSACTIONS)
def test_a_size_that_was_damaged_hides_no_whole_transaction(data: st.DataObject, past: bytes, last: bytes) -> None:
    """It may say that an argument goes on behind the end of the file."""
    sizes = [at for at in range(len(past)) if past.startswith(b"$", at) and past[at + 1 : at + 2].isdigit()]
    at = data.draw(st.sampled_from(sizes)) + 1
    damaged = past[:at] + b"9999999" + past[at:] + last
    assert not is_torn(damaged)


@pytest.mark.parametrize(
    "end",
    [b"x", b"*0\r\n", b"*x\r\n", b"*1\r\n*", b"*1\n", b"*\r\n", b"*1\r\n$-1\r\n", b"*" + b"1" * 30, b"\0*1", b"*1\r\r"],
)
def test_what_no_server_writes_is_not_torn(end: bytes) -> None:
    assert not is_torn(end)
    assert not is_torn(MULTI + end)


def test_the_torn_end_begins_with_its_transaction_wherever_it_is_cut(server_binary: Path, tmp_path: Path) -> None:
    written = write(tmp_path / "home", server_binary, tmp_path / "files", rewritten=True)
    home = tmp_path / "torn"
    file = written.torn(home, written.end)
    assert find_torn_end(home, server_binary, 10.0) is None
    for size in range(written.end - 1, written.begin, -3):
        with file.open("r+b") as stream:
            stream.truncate(size)
        assert find_torn_end(home, server_binary, 10.0) == TornEnd(file, written.begin, size - written.begin)
    written.torn(home, written.begin)
    assert find_torn_end(home, server_binary, 10.0) is None


def test_only_what_is_kept_is_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "appendonly.aof"
    file.write_bytes(b"whole" + b"torn")
    end = TornEnd(file, 5, 4)
    with pytest.raises(FileNotFoundError):
        cut(end, tmp_path / "not there")
    assert file.read_bytes() == b"wholetorn"
    kept = cut(end, tmp_path)
    assert file.read_bytes() == b"whole"
    assert kept.read_bytes() == b"torn"
    assert kept.parent == tmp_path


def test_without_a_file_there_is_no_torn_end(server_binary: Path, tmp_path: Path) -> None:
    assert find_torn_end(tmp_path, server_binary, 10.0) is None
    (tmp_path / "appendonly.aof").touch()
    assert find_torn_end(tmp_path, server_binary, 10.0) is None
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_text(
        "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"
    )
    assert find_torn_end(tmp_path, server_binary, 10.0) is None


def test_of_many_files_the_last_increment_is_the_one_that_can_be_torn(server_binary: Path, tmp_path: Path) -> None:
    """A crash in the middle of a rewrite leaves the increments of before and those of since."""
    folder = tmp_path / "appendonlydir"
    folder.mkdir()
    (folder / "appendonly.aof.manifest").write_text(
        "file appendonly.aof.2.base.rdb seq 2 type b\n"
        "file appendonly.aof.9.incr.aof seq 9 type h\n"
        "file appendonly.aof.4.incr.aof seq 4 type i startoffset 7\n"
        "file appendonly.aof.10.incr.aof seq 10 type i\n"
    )
    whole = command([b"SET", b"a", b"b"])
    for number in (4, 9, 10):
        (folder / f"appendonly.aof.{number}.incr.aof").write_bytes(whole + MULTI)
    assert find_torn_end(tmp_path, server_binary, 10.0) == TornEnd(
        folder / "appendonly.aof.10.incr.aof", len(whole), len(MULTI)
    )
    (folder / "appendonly.aof.10.incr.aof").write_bytes(whole + b"x" + MULTI)
    with pytest.raises(EmbeddedServerError, match=f"is damaged at offset {len(whole)}"):
        find_torn_end(tmp_path, server_binary, 10.0)
