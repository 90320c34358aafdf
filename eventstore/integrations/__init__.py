"""Databases for trading systems other than this library's own model."""
