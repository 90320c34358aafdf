"""The names of the keys of one trader. Pure: no I/O."""

from __future__ import annotations

from eventstore.model.identifiers import TraderId


class Keys:
    """Every key of `trader_id` begins with the hash tag ``{trader-<id>}``, so all of them are in one cluster slot.

    The text behind the tag is fixed, but for three families: ``order:<id>``, ``position:<id>`` and ``account:<id>``,
    one hash an aggregate. An id that begins a second life gets a new hash; the earlier ones are kept as
    ``<key>{<n>}``, `n` counting from 1 (no id holds a brace), and ``lives`` says how many there were;
    ``lives_purged``, how many of those are gone.
    """

    def __init__(self, trader_id: TraderId) -> None:
        ns = f"{{trader-{trader_id}}}"
        self.trader_id = trader_id
        self.namespace = ns
        self.prefix = f"{ns}:"
        # The log, how far it was archived, the fence, and the meaning of records.
        self.log = f"{ns}:log"
        self.archived = f"{ns}:archived"
        self.writer = f"{ns}:writer"
        self.schema = f"{ns}:schema"
        # Never there: whoever asks for it finds out whether a key that is not here may be at another node.
        self.absent = f"{ns}:log:absent"
        # Collections: id → record.
        self.general = f"{ns}:general"
        self.currencies = f"{ns}:currencies"
        self.instruments = f"{ns}:instruments"
        self.synthetics = f"{ns}:synthetics"
        self.actors = f"{ns}:actors"
        self.strategies = f"{ns}:strategies"
        self.order_snapshots = f"{ns}:order_snapshots"
        self.position_snapshots = f"{ns}:position_snapshots"
        self.heartbeat = f"{ns}:heartbeat"
        # Sets of ids.
        self.accounts = f"{ns}:accounts"
        self.orders = f"{ns}:orders"
        self.orders_open = f"{ns}:orders_open"
        self.orders_closed = f"{ns}:orders_closed"
        self.orders_inflight = f"{ns}:orders_inflight"
        self.orders_emulated = f"{ns}:orders_emulated"
        self.positions = f"{ns}:positions"
        self.positions_open = f"{ns}:positions_open"
        self.positions_closed = f"{ns}:positions_closed"
        # Index hashes; how many earlier lives an aggregate has, and how many of those, the earliest, are purged.
        self.index_order_position = f"{ns}:index_order_position"
        self.index_order_client = f"{ns}:index_order_client"
        self.index_venue_order_id = f"{ns}:index_venue_order_id"
        self.lives = f"{ns}:lives"
        self.lives_purged = f"{ns}:lives_purged"

    def order(self, order_id: str) -> str:
        """The hash of an order: event version → record."""
        return self.prefix + "order:" + order_id  # in a third of the time that formatting takes

    def position(self, position_id: str) -> str:
        """The hash of the present cycle of a position: event version → record, and ``basis``."""
        return f"{self.prefix}position:{position_id}"

    def account(self, account_id: str) -> str:
        """The hash of an account: event version → record."""
        return f"{self.prefix}account:{account_id}"

    def fixed_views(self) -> list[str]:
        """The views whose names hold no id."""
        k = self
        others = {k.trader_id, k.namespace, k.prefix, k.log, k.archived, k.writer, k.schema, k.absent}
        return [name for name in vars(self).values() if name not in others]

    def is_view(self, name: str) -> bool:
        """Whether `name` is that of a view, of an aggregate that is known or not."""
        families = (self.order(""), self.position(""), self.account(""))
        return name.startswith(families) or name in self.fixed_views()
