"""Run the command line with ``python -m nearedge``."""

from nearedge.cli import main

if __name__ == "__main__":
    main()
