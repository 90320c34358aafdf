"""What a position has to know of its instrument."""

from __future__ import annotations

from typing import Self

from eventstore.model.currency import Currency
from eventstore.model.enums import InstrumentClass
from eventstore.model.errors import InvalidValue
from eventstore.model.identifiers import InstrumentId
from eventstore.model.instrument import Instrument
from eventstore.model.record import Record
from eventstore.model.values import PRECISION_MAX, Quantity


class PositionBasis(Record):
    """What a position has to know of its instrument: with this and its fills it can be rebuilt.

    Parameters
    ----------
    instrument_id : InstrumentId
    size_precision : int
        Decimals of the position's quantity.
    multiplier : Quantity
        How much of the underlying one contract stands for.
    is_inverse : bool
        Whether the quantity is in quote currency and the profit in base currency.
    quote_currency : Currency
    settlement_currency : Currency
        What profit is counted in: the base currency if inverse, the instrument's settlement currency if
        quanto, otherwise the quote currency.
    base_currency : Currency, optional
    quantity_net_of_commission : bool, default False
        Whether a commission in the base currency comes off the signed quantity: who buys 1 BTC and pays 0.001 BTC holds
        0.999 BTC. NautilusTrader 1.231 does so for a `CurrencyPair`, 1.221 for nothing.
    """

    __slots__ = ()
    instrument_id: InstrumentId
    size_precision: int
    multiplier: Quantity
    is_inverse: bool
    quote_currency: Currency
    settlement_currency: Currency
    base_currency: Currency | None = None
    quantity_net_of_commission: bool = False

    def _validate(self) -> None:
        if self.size_precision > PRECISION_MAX:
            raise InvalidValue(
                f"PositionBasis {self.instrument_id}: size_precision {self.size_precision} is over {PRECISION_MAX}"
            )
        if not self.multiplier:
            raise InvalidValue(f"PositionBasis {self.instrument_id}: the multiplier is 0; it has to be positive")
        if self.is_inverse and self.base_currency is None:
            raise InvalidValue(f"PositionBasis {self.instrument_id}: an inverse instrument needs a base_currency")
        if self.quantity_net_of_commission and self.base_currency is None:
            raise InvalidValue(
                f"PositionBasis {self.instrument_id}: quantity_net_of_commission needs a base_currency, "
                "which the commission is paid in"
            )

    @classmethod
    def from_instrument(cls, instrument: Instrument) -> Self:
        """Read the facts off an instrument.

        Raises
        ------
        TypeError
            If `instrument` is no `Instrument`.
        InvalidValue
            If it is inverse without a base currency.
        """
        if not isinstance(instrument, Instrument):
            raise TypeError(f"Position: expected an Instrument, got {type(instrument).__name__} ({instrument!r:.80})")
        # As with NautilusTrader, the base currency of a CFD is a label: nothing in it is bought or sold.
        is_label = instrument.instrument_class is InstrumentClass.CFD
        return cls(
            instrument.id,
            instrument.size_precision,
            instrument.multiplier,
            instrument.is_inverse,
            instrument.quote_currency,
            instrument.cost_currency,
            None if is_label else instrument.base_currency,
        )
