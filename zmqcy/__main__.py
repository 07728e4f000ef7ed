"""``python -m zmqcy``: the command line."""

from zmqcy.cli import main

if __name__ == "__main__":
    main()
