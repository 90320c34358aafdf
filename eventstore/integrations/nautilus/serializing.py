"""NautilusTrader's objects as bytes, as a record that says the same would be; and events as NautilusTrader's again."""

from __future__ import annotations

from typing import Any

from nautilus_trader.model.position import Position

from eventstore.codec import MsgPackSerializer
from eventstore.integrations.nautilus.conversion import basis_of, to_nautilus, to_record
from eventstore.integrations.nautilus.conversion.decoding import FAULTS, read_event
from eventstore.integrations.nautilus.conversion.encoding import row_writers, short_row_writers
from eventstore.model.record import Record
from eventstore.packing import pack
from eventstore.place import Place


class NautilusSerializer(MsgPackSerializer):
    """Takes NautilusTrader's events, too, and a position for its basis. They are converted here, not where called."""

    def __init__(self, timestamps_as_str: bool = True) -> None:
        super().__init__(timestamps_as_str)
        self._rows = row_writers(timestamps_as_str)
        self._short_rows = short_row_writers(timestamps_as_str)

    def serialize(self, record: Any, place: Place | None = None) -> bytes:
        try:
            if place is None:
                return pack(self._rows[record.__class__](record))
            return pack(self._short_rows[record.__class__](record, place))
        except FAULTS:
            pass  # It is a record, or its record says what is wrong.
        if not isinstance(record, Record):
            record = basis_of(record) if isinstance(record, Position) else to_record(record)
        return super().serialize(record, place)


class EventReader(MsgPackSerializer):
    """Reads events as NautilusTrader's."""

    def deserialize(self, data: bytes, place: Place | None = None) -> Any:
        """Return the event of NautilusTrader's that the record in `data` says.

        Raises
        ------
        CodecError
            If `data` is no record.
        TypeError, ValueError
            If NautilusTrader has no event that says the same.
        """
        try:
            return read_event(data, place)
        except FAULTS:
            return to_nautilus(super().deserialize(data, place))
