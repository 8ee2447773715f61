"""``python -m alignsd``: the command, where the environment has no script of that name."""

from alignsd.cli import main

if __name__ == "__main__":
    main()
