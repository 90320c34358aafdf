"""Errors of the trading model. Each names the thing, what is wrong with it and what to do."""


class ModelError(ValueError):
    """Root of everything the model refuses because of a value."""


class InvalidIdentifier(ModelError):
    """Text that can not be an identifier of its kind."""


class InvalidValue(ModelError):
    """A price, quantity, amount, time or text outside what can be stored exactly."""


class InvalidTransition(ModelError):
    """An order event that the state machine does not allow in the order's present status."""


class DuplicateFill(ModelError):
    """A fill whose trade id was already applied to the order or position."""


class EventMismatch(ModelError):
    """An event applied to an order, position or account that it does not belong to."""
