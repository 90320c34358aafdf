"""What is to be thought of a server: pure functions from what was seen to what is said of it."""
