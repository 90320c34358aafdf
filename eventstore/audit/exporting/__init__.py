"""A log as tables, in files for others."""
