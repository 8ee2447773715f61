"""A Stable Diffusion that knows a learned word, for an ablation of the identifier.

The command trains the word's vector on the negatives of the run that is varied. The model with the
word becomes a folder in diffusers' layout. Notebook 05 takes the folder as ``stable_diffusion`` and
the word as ``identifier``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alignsd.adapt.examples import encode_examples
from alignsd.adapt.learned_word import Word, learn_word
from alignsd.adapt.lora import LoraRecipe
from alignsd.base.atomic import made, remove_folder
from alignsd.base.errors import Problem
from alignsd.base.paths import run_dir, stage_dir
from alignsd.base.progress import track
from alignsd.kit import lineage
from alignsd.kit.values.parameters import Value, number, text, whole
from alignsd.models.stable_diffusion import load_pipeline
from alignsd.models.training import Checkpointing
from alignsd.planning.ablation.changed_choices import as_value
from alignsd.select.imagefolder import read_imagefolder

LEARNED = "steps of the learned word"
WORD = "<weird>"
LIKE = "person"  # the training begins with this word's vector
LEARNING_RATE = 5e-3  # Gal et al., ICLR 2023
SELECT = "04_select_images"


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

    def checked(self, amount: object) -> float:
        """Return a number of steps; 0 is the run itself.

        Raises:
            Problem: if the amount is no whole number from 1.
        """
        if isinstance(amount, bool) or not isinstance(amount, int) or amount < 1:
            raise Problem(
                f"{amount!r:.60} is no number of steps.",
                expected="a whole number from 1",
                found=f"a {type(amount).__name__}",
                cause="a slip in --values",
                fix="alignsd ablate learned-identifier --values 300",
            )
        return amount

    def changes(self, amount: float) -> dict[str, Value]:
        """Return the values of notebook 05 that change."""
        return {"stable_diffusion": as_value(self._folder(amount)), "identifier": f"{WORD} "}

    def write(self, amount: float) -> None:
        """Train the word, and write the model; a finished model is not made again."""
        target = self._folder(amount)
        if (target / "model_index.json").exists():
            return
        own = self.values["05"]
        pipeline = load_pipeline(text(own, "stable_diffusion"), text(own, "device"))
        selection = stage_dir(lineage.holder(self.parent, SELECT), SELECT) / "imagefolder"
        selected = read_imagefolder(selection)
        negatives = selected[selected["label"] == "negative"].assign(folder=selection)
        seed = whole(own, "seed")
        work = made(target.with_name(f"{target.name} training"))
        resolution = whole(own, "resolution")
        examples = encode_examples(pipeline, negatives, resolution, seed, work / "latents")
        recipe = self._recipe(int(amount))
        word = Word(pipeline, WORD, LIKE)
        losses = learn_word(pipeline, word, examples, recipe, Checkpointing(work / "word.pt"))
        for _ in track(losses, total=recipe.steps, what="learning the word", unit="step"):
            pass
        pipeline.save_pretrained(work / "model")
        (work / "model").rename(target)
        remove_folder(work)

    def _folder(self, amount: float) -> Path:
        return run_dir(self.parent) / "ablations" / f"learned-word-{amount:g}"

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
