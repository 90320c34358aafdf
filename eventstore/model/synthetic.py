"""Synthetic instruments: a price made of other instruments' prices by a formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Self

from eventstore.model.errors import InvalidValue
from eventstore.model.formula import Step, compile_formula, evaluate
from eventstore.model.identifiers import SYNTHETIC_VENUE, InstrumentId, Symbol
from eventstore.model.record import Record
from eventstore.model.values import DIGITS_MAX, EXACT, PRECISION_MAX, Price, parse_decimal

COMPONENTS_MAX = 256


class SyntheticInstrument(Record):
    """An instrument whose price is computed from those of its components.

    Who makes one learns at once whether its formula can be read. One that was made elsewhere may have a formula of
    another dialect, as those of two releases of NautilusTrader are: it is stored, read and shown as it was written
    (`as_written`, `from_dict`), and only `calculate` refuses.

    Parameters
    ----------
    symbol : Symbol
        The id is ``symbol.SYNTH``.
    price_precision : int
        Decimals of the price, 0 to `PRECISION_MAX`.
    components : tuple[InstrumentId, ...]
        Two to `COMPONENTS_MAX` different instruments.
    formula : str
        Over the ids of the components, such as ``(BTCUSDT.BINANCE + ETHUSDT.BINANCE) / 2``; see
        `eventstore.model.formula`.
    ts_event, ts_init : int
        UNIX nanoseconds.

    Raises
    ------
    InvalidValue
        If the formula can not be read, or a value is outside its bounds.
    """

    __slots__ = ()
    symbol: Symbol
    price_precision: int
    components: tuple[InstrumentId, ...]
    formula: str
    ts_event: int
    ts_init: int

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls, *args, **kwargs)
        self._steps()
        return self

    @classmethod
    def as_written(cls, *args: Any, **kwargs: Any) -> Self:
        """Build one whose formula is not read: one that exists already.

        Raises
        ------
        InvalidValue
            If the formula is empty, or another value outside its bounds.
        """
        return Record.__new__(cls, *args, **kwargs)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from what `to_dict` returns, here or in NautilusTrader; the formula is not read."""
        name = values.get("type", cls.__name__)
        if name != cls.__name__:
            raise InvalidValue(f"{cls.__name__}: the values are of a {name!r:.80}")
        return cls.as_written(**cls._parse_fields(values))

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self).as_written, tuple(self))

    def _validate(self) -> None:
        if self.price_precision > PRECISION_MAX:
            raise self._refused(f"price_precision {self.price_precision} is over {PRECISION_MAX}")
        if not 2 <= len(self.components) <= COMPONENTS_MAX:
            raise self._refused(f"{len(self.components)} components; give 2 to {COMPONENTS_MAX}")
        if len(set(self.components)) < len(self.components):
            raise self._refused("a component is given twice")
        if not self.formula.strip():
            raise self._refused("formula: it is empty, and a value is missing")

    def _steps(self) -> tuple[Step, ...]:
        try:
            return compile_formula(self.formula, self.components)
        except InvalidValue as e:
            raise self._refused(str(e)) from None

    def _refused(self, why: str) -> InvalidValue:
        return InvalidValue(f"SyntheticInstrument {self.symbol}: {why}")

    @property
    def id(self) -> InstrumentId:
        """``symbol.SYNTH``."""
        return InstrumentId.from_parts(self.symbol, SYNTHETIC_VENUE)

    @property
    def price_increment(self) -> Price:
        """The smallest step of the price."""
        return Price(Decimal((0, (1,), -self.price_precision)))

    def change_formula(self, formula: str) -> Self:
        """Return the same instrument with another formula; this one stays as it is.

        Raises
        ------
        InvalidValue
            If the formula can not be read.
        """
        return self.replace(formula=formula)

    def calculate(self, inputs: Sequence[Decimal | int]) -> Price:
        """Return the price, given those of the components in their order; rounded half away from zero.

        Raises
        ------
        InvalidValue
            If there are not as many inputs as components, one is not finite, the formula can not be read here or has
            no value for them.
        TypeError
            If an input is a float, or no number.
        """
        if len(inputs) != len(self.components):
            raise self._refused(f"{len(inputs)} inputs for {len(self.components)} components")
        numbers = [parse_decimal(f"SyntheticInstrument {self.symbol}", value) for value in inputs]
        steps = self._steps()
        try:
            value = evaluate(steps, numbers)
        except InvalidValue as e:
            raise self._refused(str(e)) from None
        if value.adjusted() + 1 + self.price_precision > DIGITS_MAX:
            raise self._refused(f"the price would have over {DIGITS_MAX} digits")
        return Price(value.quantize(self.price_increment.as_decimal(), rounding=ROUND_HALF_UP, context=EXACT))
