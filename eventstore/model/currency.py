"""Currencies. Those built in are in `eventstore.model.currencies`."""

from __future__ import annotations

from typing import Self

from eventstore.model.enums import CurrencyType
from eventstore.model.errors import InvalidValue
from eventstore.model.identifiers import Identifier
from eventstore.model.record import Record

CURRENCY_PRECISION_MAX = 18
CRYPTO_PRECISION = 8
"""What a currency that nobody registered is taken to have, as in NautilusTrader."""


class Currency(Record):
    """A medium of exchange.

    Parameters
    ----------
    code : str
        Such as ``USD``.
    precision : int
        Decimals of an amount, 0 to `CURRENCY_PRECISION_MAX`.
    iso4217 : int
        The ISO 4217 number, 0 if there is none.
    name : str
        For people.
    currency_type : CurrencyType
    """

    __slots__ = ()

    code: str
    precision: int
    iso4217: int
    name: str
    currency_type: CurrencyType

    def _validate(self) -> None:
        Identifier(self.code)
        if " " in self.code:
            raise InvalidValue(f"Currency: code {self.code!r} holds a space; remove it")
        if self.precision > CURRENCY_PRECISION_MAX:
            raise InvalidValue(f"Currency {self.code}: precision {self.precision} is over {CURRENCY_PRECISION_MAX}")
        if self.iso4217 > 65535:
            raise InvalidValue(f"Currency {self.code}: iso4217 {self.iso4217} is over 65535")

    @classmethod
    def register(cls, currency: Currency, overwrite: bool = False) -> None:
        """Make `currency` known to `from_str`; a known one stays unless `overwrite`."""
        if overwrite or currency.code not in _REGISTRY:
            _REGISTRY[currency.code] = currency

    @classmethod
    def find(cls, code: str) -> Currency | None:
        """Return the known currency of that code, or None."""
        return _REGISTRY.get(code)

    @classmethod
    def from_str(cls, value: str) -> Self:
        """Return the known currency of that code.

        Raises
        ------
        InvalidValue
            If none is known: make a `Currency` and `register` it first.
        """
        found = _REGISTRY.get(value)
        if found is None:
            raise InvalidValue(f"Currency: {value!r:.80} is not known; register a Currency of that code first")
        return found  # type: ignore[return-value] # Currency is not subclassed

    def __str__(self) -> str:
        return self.code


_REGISTRY: dict[str, Currency] = {}
