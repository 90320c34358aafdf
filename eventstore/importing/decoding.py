"""NautilusTrader's stored values, as its serializer writes them, into our records. Pure: no I/O.

A value is a MessagePack or a JSON map. Which one, its first byte says: no MessagePack map begins with ``{``. Times are
decimal text, ISO 8601 or numbers, as the node was configured.
"""

from __future__ import annotations

import ast
import base64
import binascii
import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, ParamSpec, TypeVar

from eventstore.codec import check_plain, unpack
from eventstore.model.currency import CRYPTO_PRECISION, Currency
from eventstore.model.enums import CurrencyType
from eventstore.model.events import ORDER_EVENTS, AccountState, OrderEvent
from eventstore.model.instrument import Instrument
from eventstore.model.instruments import instrument_from_dict
from eventstore.model.record import Record
from eventstore.model.synthetic import SyntheticInstrument

P = ParamSpec("P")
R = TypeVar("R")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ISO: Final = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_TIME_MAX: Final = 2**64
_TIME_LIKE: Final = "expire_time_ns"
"""NautilusTrader takes every name that is a part of this one, such as ``n`` and ``time``, for that of a time."""


class Unreadable(ValueError):
    """A value that is none of NautilusTrader's, or that no record here can be made of; the message says why."""


def _told(read: Callable[P, R]) -> Callable[P, R]:
    """Whatever goes wrong with bytes of anybody's is `Unreadable`."""

    @functools.wraps(read)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return read(*args, **kwargs)
        except Unreadable:
            raise
        except KeyError as error:
            raise Unreadable(f"there is no {error}") from error
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError) as error:
            raise Unreadable(str(error) or type(error).__name__) from error

    return wrapped


def is_json(data: bytes) -> bool:
    """Whether that value is JSON, and not MessagePack."""
    return data[:1] == b"{"


@_told
def read_values(data: bytes) -> dict[str, Any]:
    """Return the map that `data` is, with its times in nanoseconds. Raises `Unreadable`."""
    values = _read_map(data)
    for name, value in values.items():
        if (name.startswith("ts_") or name == _TIME_LIKE) and value is not None:
            values[name] = _time(name, value)
    return values


def _read_map(data: bytes) -> dict[str, Any]:
    values = json.loads(data) if is_json(data) else unpack(data)
    if not isinstance(values, dict):
        raise Unreadable(f"a map belongs here, and this is a {type(values).__name__}")
    check_plain("the value", values)
    return values


def _time(name: str, value: Any) -> int:
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) <= 20 else _iso_time(name, value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _TIME_MAX:
        raise Unreadable(f"{name}: {value!r:.60} is no time")
    return value


def _iso_time(name: str, text: str) -> int:
    found = _ISO.fullmatch(text)
    if found is None:
        raise Unreadable(f"{name}: {text!r:.60} is no time")
    whole, fraction, zone = found.groups()
    try:
        since = datetime.fromisoformat(f"{whole}{zone or 'Z'}") - _EPOCH
    except ValueError as error:
        raise Unreadable(f"{name}: {text!r:.60} is no time: {error}") from error
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + int((fraction or "").ljust(9, "0"))


@_told
def read_heartbeat(data: bytes) -> int:
    """Return the time of a heartbeat, UNIX nanoseconds. Raises `Unreadable`."""
    return _time("the heartbeat", data.decode())


@_told
def read_currency(code: str, data: bytes) -> Currency:
    """Return the currency of that code. Raises `Unreadable`."""
    values = {"code": code} | read_values(data)
    return Currency(
        code,
        int(values["precision"]),
        int(values["iso4217"]),
        str(values["name"]),
        CurrencyType[str(values["currency_type"])],
    )


@_told
def read_instrument(data: bytes) -> tuple[Instrument, dict[str, Any]]:
    """Return an instrument, and the values it was made of. Raises `Unreadable`."""
    values = _with_known_currencies(read_values(data))
    return instrument_from_dict(values), values


@_told
def read_synthetic(data: bytes) -> tuple[SyntheticInstrument, dict[str, Any]]:
    """Return a synthetic instrument, and the values it was made of. Raises `Unreadable`."""
    values = read_values(data)
    return SyntheticInstrument.from_dict(values), values


@_told
def read_event(data: bytes) -> tuple[OrderEvent | AccountState, dict[str, Any]]:
    """Return an event of an order or account, and the values it was made of. Raises `Unreadable`."""
    values = _with_known_currencies(read_values(data))
    kind: Any = values.get("type")
    if kind == AccountState.__name__:
        return AccountState.from_dict(values), values
    if not isinstance(kind, str) or kind not in ORDER_EVENTS:
        raise Unreadable(f"no event is of type {kind!r:.60}")
    return ORDER_EVENTS[kind].from_dict(values), values


@_told
def read_state(data: bytes) -> tuple[dict[str, bytes], list[str], list[str]]:
    """Return the saved state of an actor or strategy, the names that were repaired, and those that are no bytes.

    JSON has no bytes: NautilusTrader writes them as Base64. And it writes the value of a name that it takes for a
    time's as text, such as ``b'20'``.

    Raises
    ------
    Unreadable
        If it is no map.
    """
    state: dict[str, bytes] = {}
    repaired: list[str] = []
    left: list[str] = []
    for name, value in _read_map(data).items():
        name.encode()  # which text that is not valid Unicode can not
        saved: Any = value
        if isinstance(value, str):
            mangled = _written_as_text(value) if name in _TIME_LIKE or name.startswith("ts_") else None
            saved = _from_json(value) if mangled is None and is_json(data) else mangled
            if mangled is not None:
                repaired.append(name)
        if isinstance(saved, bytes):
            state[name] = saved
        else:
            left.append(name)
    return state, repaired, left


def _written_as_text(text: str) -> bytes | None:
    if not text.startswith(("b'", 'b"')):
        return None
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, bytes) else None


def _from_json(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def not_kept(values: Mapping[str, Any], record: Record) -> Iterator[str]:
    """Yield the names of those of `values` that say something and are not in `record`, which was made of them."""
    kept = record.to_dict()
    for name, value in values.items():
        if name not in kept:
            if value not in (None, False, "", [], {}):
                yield name
        elif not _same(value, kept[name]):
            yield name


def _same(given: Any, kept: Any) -> bool:
    if given == kept or (not given and not kept):
        return True
    if isinstance(given, Mapping) and isinstance(kept, Mapping):
        return all(_same(given.get(name), kept.get(name)) for name in {*given, *kept})
    if isinstance(given, list) and isinstance(kept, list):
        return len(given) == len(kept) and all(map(_same, given, kept))
    return isinstance(given, str | int | float) and isinstance(kept, str | int | float) and str(given) == str(kept)


def _with_known_currencies(values: dict[str, Any]) -> dict[str, Any]:
    """Return `values`; a currency in them that nobody registered is taken for a crypto one, as NautilusTrader does."""
    for code in _codes(values):
        if isinstance(code, str) and code and Currency.find(code) is None:
            Currency.register(Currency(code, CRYPTO_PRECISION, 0, code, CurrencyType.CRYPTO))
    return values


def _codes(values: Mapping[str, Any]) -> Iterator[Any]:
    for name in ("base_currency", "quote_currency", "settlement_currency", "currency"):
        yield values.get(name)
    for name in ("commission", "max_notional", "min_notional"):
        yield str(values.get(name) or "").partition(" ")[2]
    for name in ("balances", "margins"):
        amounts = values.get(name)
        for amount in amounts if isinstance(amounts, list) else ():
            yield amount.get("currency") if isinstance(amount, dict) else None
