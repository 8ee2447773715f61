"""A Stable Diffusion that knows a learned word, for an ablation of the identifier.

The command trains the word's vector on the negatives of the run that is varied. The model with the
word becomes a folder in diffusers' layout. Notebook 05 takes the folder as ``stable_diffusion`` and
the word as ``identifier``.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from alignsd.adapt.examples import Examples, encode_examples
from alignsd.adapt.learned_word import Word, learn_word, save_with_word
from alignsd.adapt.lora import LoraRecipe
from alignsd.base.atomic import made, remove_folder
from alignsd.base.errors import Problem
from alignsd.base.paths import stage_dir
from alignsd.base.progress import track
from alignsd.kit import lineage
from alignsd.kit.schemas import SELECT
from alignsd.kit.stage_record import input_state
from alignsd.kit.values.parameters import Value, number, text, whole
from alignsd.models.stable_diffusion import load_pipeline
from alignsd.models.training import Checkpointing
from alignsd.planning.ablation import prepared
from alignsd.select.imagefolder import read_imagefolder

LEARNED = "steps of the learned word"
WORD = "<weird>"
LIKE = "person"  # the training begins with this word's vector
LEARNING_RATE = 5e-3  # Gal et al., ICLR 2023


@dataclass(frozen=True)
class LearnedWord:
    """Models with a learned word.

    Attributes:
        parent: the run that is varied.
        values: the parent's values, by notebook number.
    """

    parent: str
    values: Mapping[str, Mapping[str, Value]]

    def own_amount(self) -> float:
        """Return the amount that the run itself has: no step."""
        return 0

    def checked(self, amount: Any) -> float:
        """Return a number of steps; 0 is the run itself.

        Raises:
            Problem: if the amount is no whole number from 0.
        """
        if isinstance(amount, bool) or not isinstance(amount, int) or amount < 0:
            raise Problem(
                f"{amount!r:.60} is no number of steps.",
                expected="a whole number from 0",
                found=f"{amount!r:.60}",
                cause="a slip in --values",
                fix="alignsd ablate learned-identifier --values 300",
            )
        return amount

    def changes(self, amount: float) -> dict[str, Value]:
        """Return the values of notebook 05 that change."""
        return {
            "stable_diffusion": prepared.as_value(self._folder(amount)),
            "identifier": f"{WORD} ",
        }

    def write(self, amount: float) -> None:
        """Train the word, and write the model; a finished model is not made again."""
        own, target = self.values["05"], self._folder(amount)
        base, recipe = text(own, "stable_diffusion"), self._recipe(int(amount))
        holder = lineage.holder(self.parent, SELECT)
        made_from = {
            "base": base,
            "selection": input_state(holder, SELECT),
            "recipe": asdict(recipe),
        }
        if prepared.is_made(target, made_from):
            return
        pipeline = load_pipeline(base, text(own, "device"))
        work = made(target.with_name(f"{target.name}-training"))
        examples = self._negatives(pipeline, stage_dir(holder, SELECT) / "imagefolder", work)
        word = Word(pipeline, WORD, LIKE)
        kept = Checkpointing(work / "word.pt", made_from)
        losses = learn_word(pipeline, word, examples, recipe, kept)
        for _ in track(losses, total=recipe.steps, what="learning the word", unit="step"):
            pass
        save_with_word(load_pipeline(base, "cpu"), word, work / "model")
        (work / "model").rename(target)
        prepared.finish(target, made_from)
        remove_folder(work)

    def _negatives(
        self, pipeline: StableDiffusionPipeline, selection: Path, work: Path
    ) -> Examples:
        """Return the encoded negatives of the run's selection."""
        own = self.values["05"]
        selected = read_imagefolder(selection)
        negatives = selected[selected["label"] == "negative"].assign(folder=selection)
        resolution, seed = whole(own, "resolution"), whole(own, "seed")
        return encode_examples(pipeline, negatives, resolution, seed, work / "latents")

    def _folder(self, amount: float) -> Path:
        return prepared.folder(self.parent, f"learned-word-{amount:g}")

    def _recipe(self, steps: int) -> LoraRecipe:
        own = self.values["05"]
        return LoraRecipe(
            identifier=f"{WORD} ",
            identifier_alone=number(own, "identifier_alone"),
            steps=steps,
            batch=whole(own, "batch"),
            micro_batch=whole(own, "micro_batch"),
            learning_rate=LEARNING_RATE,
            schedule="constant",
            weight_decay=number(own, "weight_decay"),
            snr_gamma=number(own, "snr_gamma"),
            rank=whole(own, "rank"),
            seed=whole(own, "seed"),
        )
