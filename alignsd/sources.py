"""Resolve names that lead to the real world or to the simulated one.

A parameter such as ``export`` or ``judge`` is the path of a real file, or a name such as
``"miniature"``. This module is the only one that knows both worlds: every other module takes files
or objects, and no chapter of the kit imports the miniature.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from alignsd.base.judge import Judge
from alignsd.miniature.corpus import CorpusRecipe, write_corpus
from alignsd.select import diffusiondb

if TYPE_CHECKING:  # diffusers takes seconds to load
    from alignsd.models.stable_diffusion import Drawing


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


def parts(
    source: str,
    own: Path,
    recipe: CorpusRecipe,
    model: str,
    drawing: "Drawing",
    device: str = "auto",
) -> Path:
    """Return the folder of DiffusionDB parts that a parameter ``parts`` names.

    Args:
        source: a folder, or ``"miniature"``: draw a corpus into ``own``.
        own: where the miniature writes.
        recipe: what the simulated users ask for.
        model: the Stable Diffusion that draws the corpus, see ``stable_diffusion.load_pipeline``.
        drawing: how the corpus is drawn.
        device: ``"auto"`` or a torch device.

    Raises:
        Problem: if the folder does not exist, or ``own`` holds a corpus of another recipe.
    """
    if source != "miniature":
        return diffusiondb.parts_folder(source)
    write_corpus(own, recipe, model, drawing, device)
    return own
