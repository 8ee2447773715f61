"""Resolve names that lead to the real world or to the simulated one.

A parameter such as ``export`` or ``judge`` is the path of a real file, or a name such as
``"miniature"``. This module is the only one that knows both worlds: every other module takes files
or objects, and no chapter of the kit imports the miniature.
"""

from pathlib import Path

from alignsd.base.judge import Judge


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
