"""Everything that speaks to Redis: connecting, the embedded server, appending and reading."""
