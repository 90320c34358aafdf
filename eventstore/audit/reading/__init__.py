"""What stands in a log, for people: which entries, what each is about, and the life of one thing."""
