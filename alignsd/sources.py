"""Resolve names that lead to the real world or to the simulated one.

A parameter such as ``export`` or ``judge`` is the path of a real file, or a name such as
``"miniature"``. This module is the only one that knows both worlds: every other module takes files
or objects, and no chapter of the kit imports the miniature.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alignsd.base.errors import check_seed
from alignsd.base.judge import Judge
from alignsd.base.paths import user_path
from alignsd.compare.prompts import read_prompts
from alignsd.compare.reference import pictures_in
from alignsd.compare.user_study import Chances

if TYPE_CHECKING:
    from torch import nn  # torch takes a second to load, which most functions here can spare


def judge(name: str) -> Judge | None:
    """Return the judge that a parameter ``judge`` names.

    Args:
        name: ``"miniature/judge"``, the path of such a judge's safetensors file, or ``""``.

    Returns:
        The judge; None for ``""``: then nobody knows which pictures are drawn wrong.

    Raises:
        Problem: if the file is missing or holds no judge.
    """
    if not name:
        return None
    # Both load torch, which takes seconds that a run without a judge need not wait.
    from alignsd.miniature.judge import load_judge
    from alignsd.models.registry import resolve

    return load_judge(Path(resolve(name)))


def people(name: str) -> Chances | None:
    """Return the people of the user study, who follow the verdicts of the judge ``name``.

    Nobody is asked: simulated people stand for real people.

    Args:
        name: as in ``judge``.

    Returns:
        The people; None for ``""``: then nobody votes.

    Raises:
        Problem: as in ``judge``.
    """
    if not name:
        return None
    from alignsd.miniature.judge import load_judge  # loads torch
    from alignsd.miniature.people import choice_probabilities
    from alignsd.models.registry import resolve

    return partial(choice_probabilities, load_judge(Path(resolve(name))))


def prompts(source: str, count: int, seed: int) -> list[str]:
    """Return ``count`` distinct prompts for the comparison of the arms.

    Args:
        source: a text file with one prompt per line, whose first prompts are taken, or
            ``"miniature"`` for captions of the simulated world.
        count: the number of prompts.
        seed: of the simulated captions.

    Raises:
        Problem: if the file cannot be read or holds fewer prompts, or if ``count`` or ``seed`` is
            out of range.
    """
    check_seed(seed)
    if source == "miniature":
        from alignsd.miniature import world

        return world.captions(count, np.random.default_rng((seed, 0xA4A5)))
    return read_prompts(source, count)


def fid_reference(
    source: str, prompts: Sequence[str], seed: int
) -> tuple[Iterator[np.ndarray], Counter[str]]:
    """Return the pictures with which FID compares, and how many files were left out, and why.

    Args:
        source: a folder of images, or ``"miniature"`` for one render without a flaw of each
            prompt's scene. No model has seen these renders. We do not know the paper's pictures.
        prompts: the prompts of the generated images.
        seed: of what a prompt leaves open in a render.

    Returns:
        As ``reference.pictures_in``.

    Raises:
        Problem: if the seed is out of range; when all pictures were taken, if there are too few.
    """
    check_seed(seed)
    if source == "miniature":
        from alignsd.miniature.reference import clean_renders

        return clean_renders(prompts, seed), Counter()
    return pictures_in(user_path(source))


def feature_network(name: str) -> "nn.Module":
    """Return a network that turns pictures ``(n, 3, h, w)`` uint8 into features ``(n, d)``.

    Args:
        name: ``"inception"`` as in the paper, or ``"miniature/judge"`` or a judge's file. The
            judge's features give a Fréchet distance that no published FID can be compared with.

    Raises:
        Problem: if the weights are missing, or cannot be fetched.
    """
    if name == "inception":
        from alignsd.compare.features import inception  # loads torchmetrics

        return inception()
    from alignsd.miniature.judge import load_judge
    from alignsd.miniature.judge_features import JudgeFeatures
    from alignsd.models.registry import resolve

    return JudgeFeatures(load_judge(Path(resolve(name))))
