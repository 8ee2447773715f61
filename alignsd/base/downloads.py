"""The errors that a download can raise, and the line of an error that tells most."""

from huggingface_hub.errors import HTTPError
from huggingface_hub.utils import HFValidationError

# The errors of the hub, of urllib and of the disk are OSErrors. Two errors are not: the
# hub's HTTP client without a network raises HTTPError, and a name that no repository can have
# raises HFValidationError.
FAILED = (OSError, HTTPError, HFValidationError)


def told(error: Exception) -> str:
    """Return an error's first line, cut at 300 characters; without a line, the error's kind."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines_with_words = [line for line in lines if line]
    if not lines_with_words:
        return type(error).__name__
    return lines_with_words[0][:300]
