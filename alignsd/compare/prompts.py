"""The prompts of the comparison, from a text file with one prompt per line or a list in JSON."""

from alignsd.base.errors import Problem, at_least
from alignsd.base.paths import user_path
from alignsd.kit.entries import read_entries


def read_prompts(source: str, count: int) -> list[str]:
    """Return the first ``count`` distinct prompts of a text file.

    Args:
        source: a text file with one prompt per line, or a list of texts in JSON (relative to the
            repository). Blank lines do not count.
        count: the number of prompts.

    Raises:
        Problem: if the file cannot be read, has another encoding, is a table or holds fewer
            prompts, or if ``count`` is below 1.
    """
    at_least(1, prompt_count=count)
    another = "--set prompts=FILE with another file"
    prompts = read_entries(user_path(source), "The prompts", "prompt", another)
    distinct = list(dict.fromkeys(prompts))
    if not distinct:
        raise Problem(
            f"There is no prompt in {source}.",
            expected=f"{count} distinct lines",
            found="no line, or blank lines alone",
            cause="an empty file, or another file than the one that was meant",
            fix="--set prompts=FILE: a text file with one prompt per line",
        )
    if len(distinct) < count:
        raise Problem(
            f"There are not enough prompts in {source}.",
            expected=f"{count} distinct lines",
            found=f"{len(distinct)}",
            cause="a short or repetitive file, or another file than the one that was meant",
            fix=f"--set prompts=FILE with a longer file, or --set prompt_count={len(distinct)}",
        )
    return distinct[:count]
