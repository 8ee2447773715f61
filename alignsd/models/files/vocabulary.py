"""Refuse a tokenizer without a vocabulary, for which every text is the same text."""

from collections.abc import Callable, Iterable
from typing import Any

from alignsd.base.downloads import told
from alignsd.base.errors import Problem
from alignsd.models.files.wording import short

# Words of one length: a tokenizer without a vocabulary tells texts of two lengths apart.
WORDS = ("cat", "dog", "man", "red", "sea", "the")
NEEDED = "tokenizer_config.json, and tokenizer.json or both vocab.json and merges.txt"


def check_vocabulary(tokenize: Callable[[list[str]], Iterable[Any]], name: str) -> None:
    """Do nothing if a tokenizer tells words apart.

    transformers makes a tokenizer of a folder without files of a vocabulary. Such a tokenizer
    knows no word, and gives all texts of one length the same tokens.

    Args:
        tokenize: texts to one row of token ids per text.
        name: how the message calls the model.

    Raises:
        Problem: if all of ``WORDS`` have the same tokens, or the tokenizer fails.
    """
    try:
        rows = [[int(token) for token in row] for row in tokenize(list(WORDS))]
    except Exception as error:  # a damaged tokenizer makes transformers raise anything
        raise bad_tokenizer(name, short(told(error), 160)) from error
    if all(row == rows[0] for row in rows):
        found = f"the same tokens for {', '.join(WORDS)}: a tokenizer without a vocabulary"
        raise bad_tokenizer(name, found)


def bad_tokenizer(name: str, found: str) -> Problem:
    """Return the problem of a model whose tokenizer cannot be used.

    Args:
        name: how the message calls the model.
        found: what is wrong with the tokenizer.
    """
    return Problem(
        f"{short(name)} has no tokenizer that can be used.",
        expected=f"a whole tokenizer: {NEEDED}",
        found=found,
        cause="an unfinished download, or a copy without all files",
        fix=f"get the files of the tokenizer of the same model again: {NEEDED}",
    )
