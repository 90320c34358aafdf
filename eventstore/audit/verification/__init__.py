"""Whether a log, its archive and its views are what was written; chain heads that were noted elsewhere."""
