"""Make the weights that the miniature ships, stage by stage.

Each stage is resumable from the last checkpoint, and is skipped when the stage's weights exist.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from alignsd.base.atomic import write_json
from alignsd.base.errors import Problem
from alignsd.miniature.pretraining.pretrain_clip import pretrain_aesthetic, pretrain_clip
from alignsd.miniature.pretraining.pretrain_diffusion import pretrain_diffusion, pretrain_vae
from alignsd.miniature.pretraining.pretrain_judge import pretrain_judge
from alignsd.miniature.pretraining.recipes import CREATURES, RECIPES, Record, StageRecipe
from alignsd.miniature.web import FLAW_SHARE, WEB_SEED

STAGES: dict[str, Callable[[StageRecipe, Path, Path], Record]] = {
    "vae": pretrain_vae,
    "clip": pretrain_clip,
    "aesthetic": pretrain_aesthetic,
    "judge": pretrain_judge,
    "diffusion": pretrain_diffusion,
}


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each weight file below ``folder``, by relative path."""
    files = sorted(folder.rglob("*.safetensors"))
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def pretrain(out: Path, work: Path, stages: list[str], shorten: float = 1.0) -> Record:
    """Run the stages that ``out/model_card.json`` does not record yet, and return the whole card.

    The card gets the record of each stage when the stage is done.

    Args:
        out: folder of the weights.
        work: folder of the checkpoints.
        stages: names from ``STAGES``; each needs the weights of earlier stages.
        shorten: factor on steps and pictures; below 1 only to try the script.

    Raises:
        Problem: if all stages are recorded.
    """
    card_path = out / "model_card.json"
    card = json.loads(card_path.read_text()) if card_path.exists() else {"stages": {}}
    missing = [name for name in stages if name not in card["stages"]]
    if not missing:
        raise Problem(
            "There is nothing to pretrain.",
            expected=f"a folder without the weights of {', '.join(stages)}",
            found=f"the record of each in {card_path.name}",
            cause="these weights are finished, as the shipped ones are",
            fix="--fresh deletes them and makes new ones; --out FOLDER makes others beside them",
        )
    for name in missing:
        recipe = _shortened(RECIPES[name], shorten)
        card["stages"][name] = STAGES[name](recipe, out, work)
        card["seed"] = WEB_SEED
        card["flaw_share"] = FLAW_SHARE
        card["creatures"] = CREATURES
        card["sha256"] = hashes(out)
        write_json(card_path, card)
    return card


def _shortened(recipe: StageRecipe, factor: float) -> StageRecipe:
    steps = max(2, int(recipe.steps * factor))
    pictures = max(recipe.batch, int(recipe.pictures * factor))
    return replace(recipe, steps=steps, pictures=pictures)
