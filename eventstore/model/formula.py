"""Formulas over named numbers, such as ``(BTCUSDT.BINANCE + ETHUSDT.BINANCE) / 2``.

A formula is compiled once into a list of steps for a stack of numbers; nothing of it is ever run as code, and neither
compiling nor evaluating recurses. The language is the one of NautilusTrader's synthetic instruments, whose releases
differ in it: ``+ - * / % ^`` (all of one rank group from the left), comparisons, ``&& || !``,
``if(condition, then, else)`` and the functions in `FUNCTIONS`. Numbers are exact decimals: ``1 / 2`` is a half, where
NautilusTrader divides two integers as integers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import (
    ROUND_CEILING,
    ROUND_FLOOR,
    ROUND_HALF_UP,
    Context,
    Decimal,
    DecimalException,
    DivisionByZero,
    InvalidOperation,
    Overflow,
)
from functools import lru_cache
from typing import Any, NamedTuple

from eventstore.model.errors import InvalidValue

FORMULA_LENGTH_MAX = 1 << 14
NUMBER_LENGTH_MAX = 40

_ARITHMETIC = Context(prec=60, Emax=999, Emin=-999, traps=[DivisionByZero, InvalidOperation, Overflow])

_NUMBER, _TRUTH = "number", "truth value"


class _Operation(NamedTuple):
    takes: tuple[str, ...]
    gives: str
    run: Callable[..., Any]
    rank: int = 0
    many: bool = False  # takes one or more of the same kind
    prefix: bool = False


def _binary(rank: int, run: Callable[..., Any], takes: str = _NUMBER, gives: str = _NUMBER) -> _Operation:
    return _Operation((takes, takes), gives, run, rank)


def _function(run: Callable[..., Any], count: int = 1, many: bool = False) -> _Operation:
    return _Operation((_NUMBER,) * count, _NUMBER, run, many=many)


def _whole(rounding: str) -> _Operation:
    return _function(lambda a: a.to_integral_value(rounding=rounding))


_C = _ARITHMETIC
OPERATORS: dict[str, _Operation] = {
    "||": _binary(1, lambda a, b: a or b, _TRUTH, _TRUTH),
    "&&": _binary(2, lambda a, b: a and b, _TRUTH, _TRUTH),
    "<": _binary(3, lambda a, b: a < b, gives=_TRUTH),
    "<=": _binary(3, lambda a, b: a <= b, gives=_TRUTH),
    ">": _binary(3, lambda a, b: a > b, gives=_TRUTH),
    ">=": _binary(3, lambda a, b: a >= b, gives=_TRUTH),
    "==": _binary(3, lambda a, b: a == b, gives=_TRUTH),
    "!=": _binary(3, lambda a, b: a != b, gives=_TRUTH),
    "+": _binary(4, _C.add),
    "-": _binary(4, _C.subtract),
    "*": _binary(5, _C.multiply),
    "/": _binary(5, _C.divide),
    "%": _binary(5, _C.remainder),
    "^": _binary(7, _C.power),
}
PREFIXES: dict[str, _Operation] = {
    "-": _Operation((_NUMBER,), _NUMBER, _C.minus, 6, prefix=True),
    "!": _Operation((_TRUTH,), _TRUTH, lambda a: not a, 6, prefix=True),
}
FUNCTIONS: dict[str, _Operation] = {
    "abs": _function(_C.abs),
    "min": _function(min, many=True),
    "max": _function(max, many=True),
    "floor": _whole(ROUND_FLOOR),
    "ceil": _whole(ROUND_CEILING),
    "round": _whole(ROUND_HALF_UP),
    "if": _Operation((_TRUTH, _NUMBER, _NUMBER), _NUMBER, lambda condition, a, b: a if condition else b),
    "math::abs": _function(_C.abs),
    "math::exp": _function(_C.exp),
    "math::ln": _function(_C.ln),
    "math::log10": _function(_C.log10),
    "math::pow": _function(_C.power, 2),
    "math::sqrt": _function(_C.sqrt),
}

Step = Decimal | int | tuple[Callable[..., Any], int]
"""A number, the place of a name among the names, or what to run on how many values of the stack."""

_OPEN = "("
_COMMA = ","
_CLOSE = ")"
_WORD = r"[^\W\d][\w:.]*"
_NUMERAL = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_SIGN = r"\|\||&&|<=|>=|==|!=|[-+*/%^<>!(),]"


@lru_cache(maxsize=256)
def compile_formula(formula: str, names: tuple[str, ...]) -> tuple[Step, ...]:
    """Return the steps of `formula`, in which `names` (any text, also with ``/``, ``-`` or spaces) stand for numbers.

    Raises
    ------
    InvalidValue
        If it is longer than `FORMULA_LENGTH_MAX` or can not be read.
    """
    if len(formula) > FORMULA_LENGTH_MAX:
        raise InvalidValue(f"formula: {len(formula)} characters, at most {FORMULA_LENGTH_MAX} are allowed")
    return tuple(_Compiler(formula, names).compile())


def evaluate(steps: Sequence[Step], inputs: Sequence[Decimal]) -> Decimal:
    """Return what the steps make of `inputs`, the numbers of the names in order.

    Raises
    ------
    InvalidValue
        If it has no value, such as a division by zero.
    """
    stack: list[Any] = []
    try:
        for step in steps:
            if isinstance(step, tuple):
                run, count = step
                values = stack[-count:]
                del stack[-count:]
                stack.append(run(*values))
            else:
                stack.append(inputs[step] if isinstance(step, int) else step)
    except DecimalException as e:
        raise InvalidValue(f"formula: no value for {[str(x) for x in inputs]} ({type(e).__name__})") from None
    value: Decimal = stack[0]
    if not value.is_finite():
        raise InvalidValue(f"formula: no value for {[str(x) for x in inputs]} (it is infinite)")
    return value


class _Compiler:
    """The shunting-yard algorithm, with the kinds of the operands in place of their values."""

    def __init__(self, formula: str, names: tuple[str, ...]) -> None:
        self.formula = formula
        self.names = {name: place for place, name in enumerate(names)}
        longest_first = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        self.tokens = re.compile(
            rf"\s*(?:(?P<name>(?:{longest_first})(?![\w.:]))|(?P<number>{_NUMERAL}(?!\w))|(?P<word>{_WORD})|(?P<sign>{_SIGN}))"
        )
        self.steps: list[Step] = []
        self.kinds: list[str] = []
        # What waits for its operands: operators, functions (by name) and brackets, each with the place it stands at.
        self.waiting: list[tuple[str, _Operation | None, int]] = []
        # For each open bracket: how many values were there, and how many commas were seen.
        self.brackets: list[tuple[int, int]] = []

    def compile(self) -> list[Step]:
        """Return the steps."""
        at, end = 0, len(self.formula.rstrip())
        wants_value = True
        while at < end:
            found = self.tokens.match(self.formula, at)
            if found is None or found.lastgroup is None:
                raise self.refuse("can not be read", at)
            token, start = found[found.lastgroup], found.start(found.lastgroup)
            if wants_value:
                wants_value = self.value(found.lastgroup, token, start)
            else:
                wants_value = self.after_value(token if found.lastgroup == "sign" else "", start)
            at = found.end()
        if wants_value:
            raise self.refuse("ends where a value is missing", end)
        self.reduce(0)
        if self.waiting:
            raise self.refuse("has a bracket that is not closed", self.waiting[-1][2])
        if self.kinds != [_NUMBER]:
            raise self.refuse("is a comparison, not a price; wrap it in if(condition, then, else)", 0)
        return self.steps

    def value(self, group: str, token: str, at: int) -> bool:
        """Take a token where a value has to begin; return whether one is still wanted."""
        if group == "name":
            self.push(self.names[token], _NUMBER)
            return False
        if group == "number":
            if len(token) > NUMBER_LENGTH_MAX:
                raise self.refuse(f"has a number of over {NUMBER_LENGTH_MAX} characters", at)
            number = Decimal(token)
            if abs(number.adjusted()) > NUMBER_LENGTH_MAX:
                raise self.refuse("has a number that is too large or too small", at)
            self.push(number, _NUMBER)
            return False
        if group == "word":
            if token not in FUNCTIONS:
                raise self.refuse(f"names {token!r}, which is neither a component nor a function", at)
            if not self.formula[at + len(token) :].lstrip().startswith(_OPEN):
                raise self.refuse(f"has {token!r} without its arguments in brackets", at)
            self.waiting.append((token, FUNCTIONS[token], at))
        elif token == _OPEN:
            self.waiting.append((_OPEN, None, at))
            self.brackets.append((len(self.kinds), 0))
        elif token in PREFIXES:
            self.waiting.append((token, PREFIXES[token], at))
        else:
            raise self.refuse(f"has {token!r} where a value is missing", at)
        return True

    def after_value(self, token: str, at: int) -> bool:
        """Take a token behind a value; return whether a value is wanted next."""
        operator = OPERATORS.get(token)
        if operator is not None:
            self.reduce(operator.rank)
            self.waiting.append((token, operator, at))
            return True
        if token not in (_COMMA, _CLOSE):
            raise self.refuse("lacks an operator", at)
        self.reduce(0)
        if not self.waiting:
            raise self.refuse(f"has {token!r} without an open bracket", at)
        height, commas = self.brackets.pop()
        called = len(self.waiting) > 1 and self.waiting[-2][0] in FUNCTIONS
        if token == _COMMA:
            if not called:
                raise self.refuse("has a comma outside a function", at)
            self.brackets.append((height, commas + 1))
            return True
        self.waiting.pop()
        if called:
            name, _, start = self.waiting.pop()
            self.apply(name, FUNCTIONS[name], commas + 1, start)
        return False

    def reduce(self, rank: int) -> None:
        """Apply the operators that wait and bind at least as strongly, up to the last open bracket."""
        while self.waiting:
            name, operation, at = self.waiting[-1]
            if operation is None or operation.rank < max(rank, 1):
                return
            self.waiting.pop()
            self.apply(name, operation, len(operation.takes), at)

    def apply(self, name: str, operation: _Operation, count: int, at: int) -> None:
        """Add the step of an operation on the last `count` values."""
        takes = operation.takes * count if operation.many else operation.takes
        if count != len(takes):
            raise self.refuse(f"gives {name!r} {count} arguments; it takes {len(takes)}", at)
        given = tuple(self.kinds[-count:])
        if given != takes:
            raise self.refuse(f"gives {name!r} a {' and a '.join(given)}; it takes a {' and a '.join(takes)}", at)
        del self.kinds[-count:]
        self.push((operation.run, count), operation.gives)

    def push(self, step: Step, kind: str) -> None:
        """Add a step that leaves a value of that kind."""
        self.steps.append(step)
        self.kinds.append(kind)

    def refuse(self, why: str, at: int) -> InvalidValue:
        """Return the error for the token at that place."""
        near = self.formula[at : at + 20]
        return InvalidValue(f"formula: {self.formula!r:.200} {why} (at {at}, near {near!r})")
