"""How many inputs the tests generate."""

import os

# The same inputs in every run, and CASES times as many in a longer run by hand.
CASES = int(os.environ.get("CASES", "1"))
