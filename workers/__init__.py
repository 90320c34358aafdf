"""Background work: a bounded backlog, batches, a writer thread, watermarks, a heartbeat.

Standard library only; nothing here knows of trading or of Redis.
"""
