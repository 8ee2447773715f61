"""``python -m alignsd`` is the command ``alignsd`` for an environment without that script."""

from alignsd.cli import main

if __name__ == "__main__":
    main()
