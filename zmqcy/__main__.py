"""Run the command line: ``python -m zmqcy``."""

from zmqcy.cli import main

if __name__ == "__main__":
    main()
