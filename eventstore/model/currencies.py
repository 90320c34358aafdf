from eventstore.model.currency import Currency
from eventstore.model.enums import CurrencyType

USD = Currency("USD", 2, 840, "United States dollar", CurrencyType.FIAT)
JPY = Currency("JPY", 0, 392, "Japanese yen", CurrencyType.FIAT)
for c in (USD, JPY):
    Currency.register(c)
