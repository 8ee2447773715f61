"""What can go wrong with a download, as one tuple, and the line of it that tells most."""

from huggingface_hub.errors import HTTPError
from huggingface_hub.utils import HFValidationError

# The hub's own errors and those of urllib and of the disk are OSErrors; what its HTTP client raises without a network is not,
# and no more is what it says about a name that cannot be a repository's.
FAILED = (OSError, HTTPError, HFValidationError)


def told(error: Exception) -> str:
    """Return an error's first line, cut at 300 characters, or its kind if it says nothing."""
    lines = (line.strip() for line in str(error).splitlines())
    first = next(filter(None, lines), type(error).__name__)
    return first[:300]
