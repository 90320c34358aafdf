"""``python -m eventstore``: the command line."""

from eventstore.cli import main

if __name__ == "__main__":
    main()
