"""Human Preference Score, from collected choices to an aligned Stable Diffusion.

The paper is "Human Preference Score: Better Aligning Text-to-Image Models with Human Preference"
(ICCV 2023, arXiv 2303.14420). ``load_clip`` and ``score`` are enough to score pictures::

    model = alignsd.load_clip("miniature/clip", weights="hps.safetensors")
    alignsd.score(model, [image], ["a person in a red shirt waving on the beach"])
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignsd.models.clip import load_clip
    from alignsd.reward.hps import score

__version__ = "0.1.0"
__all__ = ["load_clip", "score"]


def __getattr__(name: str) -> Any:
    """Import ``load_clip`` and ``score`` when they are first asked for: torch takes seconds."""
    if name == "load_clip":
        from alignsd.models.clip import load_clip

        return load_clip
    if name == "score":
        from alignsd.reward.hps import score

        return score
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
