"""The ways that are compared: how each way draws, what each costs, and where its settings are from.

Facts about official settings are from the official code of each method, or from the paper where no
code was found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from alignsd.adapt.lora import LoraRecipe
from alignsd.base.plotting.colours import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    PURPLE,
    SKY,
)
from alignsd.beyond.preference import PairRecipe
from alignsd.beyond.reward_gradient import RewardRecipe


@dataclass(frozen=True)
class Way:
    """One way to draw a prompt.

    Attributes:
        name: the way in tables, and the folder of its pictures.
        label: the way in figures; may be two lines.
        colour: the way in figures.
        adapter: the LoRA of the network that gets the prompt; empty for the original model.
        negative: the negative prompt; ``{identifier}`` stands for the text of notebook 05.
        negative_adapter: the LoRA of a second network, which gets the negative prompt; None where
            one network does both.
        pictures: how many pictures are drawn for each picture that is kept.
        strength: factor of the LoRA, or of both.
    """

    name: str
    label: str
    colour: str
    adapter: str = ""
    negative: str = ""
    negative_adapter: str | None = None
    pictures: int = 1
    strength: float = 1.0

    @property
    def networks(self) -> int:
        """Return how many UNets lie in memory while drawing."""
        return 1 if self.negative_adapter is None else 2

    def at_strength(self, strength: float) -> "Way":
        """Return the same way with another strength, under a name of its own."""
        return replace(self, name=f"{self.name}@{strength:g}", strength=strength)


ORIGINAL = Way("original", "original", GREY)
PAPERS = Way(
    "adapted_negative",
    "the paper's arm",
    BLUE,
    adapter="adapted",
    negative="{identifier}",
)
BEST_OF_2 = Way("best_of_2", "best of 2 by HPS", BLACK, pictures=2)
BEST_OF_4 = Way("best_of_4", "best of 4 by HPS", BLACK, pictures=4)
DPO_PEOPLE = Way("dpo_people", "DPO, people's pairs", "#FDBE85", adapter="dpo_people")
DPO_RELABELLED = Way(
    "dpo_relabelled",
    "DPO, people's pairs\nordered by HPS",
    "#E6703A",
    adapter="dpo_relabelled",
)
DPO_HPS = Way("dpo_hps", "DPO, pairs by HPS", "#8A3200", adapter="dpo_hps")
NPO = Way("npo", "NPO: a second network\nas negative", SKY, negative_adapter="npo")
DPO_NPO = Way("dpo_npo", "DPO by HPS and NPO", PURPLE, adapter="dpo_hps", negative_adapter="npo")
SNPO = Way("snpo", "one network, swapped\nwithout captions", GREEN, adapter="snpo")
REJECTION = Way("rejection", "rejection sampling", "#8C6D31", adapter="rejection")
REWARD = Way("reward", "gradient of HPS", "#B3446C", adapter="reward")

DPO = (DPO_PEOPLE, DPO_RELABELLED, DPO_HPS)
DRAWN = (ORIGINAL, PAPERS, *DPO, NPO, DPO_NPO, SNPO, REJECTION, REWARD)
KEPT = (BEST_OF_2, BEST_OF_4)  # drawn by the original, and then chosen
WAYS = (ORIGINAL, PAPERS, *KEPT, *DRAWN[2:])
ALONG_STRENGTH = (PAPERS, *DPO, SNPO, REJECTION, REWARD)


def named(name: str) -> Way:
    """Return the way of a table's row, with the strength that the row's name says."""
    base, _, strength = name.partition("@")
    for way in WAYS:
        if way.name == base:
            return way.at_strength(float(strength)) if strength else way
    return Way(name, name, BLACK)


@dataclass(frozen=True)
class Settings:
    """The settings of a method beside ours.

    Attributes:
        method: the method, with the place where it was published.
        official: the settings of the official code, or of the paper.
        why: why ours are different.
        tried: how many settings of ours were tried before the committed run, in words.
    """

    method: str
    official: str
    why: str
    tried: str


SETTINGS = {
    "adapted_negative": Settings(
        "Human Preference Score (ICCV 2023)",
        "10,000 steps of 40, 1e-5, LoRA rank 32",
        "a small model, and minutes of time: notebook 05",
        "many, over the time of the project: docs/trials.md",
    ),
    "best_of_2": Settings("best of n", "-", "nothing is trained", "1"),
    "dpo_people": Settings(
        "Diffusion-DPO (CVPR 2024)",
        "all weights, 2,000 steps of 2,048 pairs, 2.05e-5, beta 5,000, captions dropped 0.2",
        "a LoRA; beta belongs to the mean error over 256 numbers of a latent, not 16,384",
        "3: trials had 300 steps, and a learning rate of 4e-3",
    ),
    "dpo_relabelled": Settings(
        "Diffusion-DPO (CVPR 2024)",
        "the same, and HPS orders the pairs (an option of the official code)",
        "as above",
        "1",
    ),
    "dpo_hps": Settings(
        "Diffusion-DPO (CVPR 2024)",
        "the same; clear pairs of scored pictures are our own idea",
        "as above",
        "2: a trial had 300 steps",
    ),
    "npo": Settings(
        "Diffusion-NPO (ICLR 2025)",
        "LoRA rank 8, 5,000 steps of 64 pairs, 5e-6, beta 500 without the factor 1/2",
        "the same recipe as for DPO, with winner and loser swapped",
        "2: a trial had 300 steps",
    ),
    "snpo": Settings(
        "after Diff-SNPO (ICLR 2026)",
        "not seen: the code could not be had",
        "the loss of DPO without the bound that the paper adds",
        "1",
    ),
    "rejection": Settings(
        "rejection sampling, RAFT (2023)",
        "draw k, keep the best, fine-tune, repeat",
        "one round, on the positives of notebook 04",
        "2: a trial had 500 steps",
    ),
    "reward": Settings(
        "DRaFT (ICLR 2024), AlignProp (2023)",
        "LoRA, 1e-3, batch 128, 50 steps, 20 to 25 epochs, guidance 5",
        "tens of steps of 8 pictures: enough to see where the reward leads",
        "2: a trial had 20 steps",
    ),
}


WITH_GRADIENT = 3  # passes: forward, and backward with about twice the work


def passes(
    of_pairs: Mapping[str, PairRecipe], rejection: LoraRecipe, reward: RewardRecipe
) -> dict[str, float]:
    """Return how many pictures go through the UNet in each training, see ``costs``.

    A pair is two pictures, and each also goes through the frozen network. Along the gradient, each
    denoising step with guidance is two passes.

    Args:
        of_pairs: name of a LoRA -> how the LoRA is trained on pairs.
        rejection: how the LoRA of rejection sampling is trained.
        reward: how the LoRA along the gradient is trained.
    """
    counted = {
        name: float(2 * recipe.steps * recipe.batch * (WITH_GRADIENT + 1))
        for name, recipe in of_pairs.items()
    }
    counted["rejection"] = float(WITH_GRADIENT * rejection.steps * rejection.batch)
    with_gradient = WITH_GRADIENT * reward.through + reward.denoising_steps - reward.through
    counted["reward"] = float(2 * with_gradient * reward.steps * reward.batch)
    return counted


def in_words(
    of_pairs: Mapping[str, PairRecipe], rejection: LoraRecipe, reward: RewardRecipe
) -> dict[str, str]:
    """Return the settings of this run in words, by the names in ``SETTINGS``.

    Args:
        of_pairs, rejection, reward: as for ``passes``.
    """
    words = {"best_of_2": "2 or 4 pictures"}
    for name, recipe in of_pairs.items():
        words[name] = (
            f"LoRA rank {recipe.rank}, {recipe.steps:,} steps of {recipe.batch} pairs, "
            f"{recipe.learning_rate:g}, beta {recipe.beta:g}, "
            f"captions dropped {recipe.caption_dropout or recipe.swapped_captionless:g}"
        )
    words["rejection"] = (
        f"LoRA rank {rejection.rank}, {rejection.steps:,} steps of {rejection.batch}, "
        f"{rejection.learning_rate:g}"
    )
    words["reward"] = (
        f"LoRA rank {reward.rank}, {reward.steps:,} steps of {reward.batch} pictures, "
        f"{reward.learning_rate:g}, {reward.denoising_steps} denoising steps, "
        f"guidance {reward.guidance:g}"
    )
    return words


def settings_table(ours: dict[str, str]) -> pd.DataFrame:
    """Return the official settings beside ours: a row per method.

    Args:
        ours: the name of a way -> our settings of this run, in words. A way that is absent has no
            row.
    """
    rows = []
    for name, settings in SETTINGS.items():
        if name in ours:
            row = {"way": named(name).label.replace("\n", " "), "method": settings.method}
            row |= {"official settings": settings.official, "ours": ours[name]}
            row |= {"why different": settings.why, "settings tried": settings.tried}
            rows.append(row)
    return pd.DataFrame(rows)


def costs(passes: Mapping[str, float], steps: int, ways: Sequence[Way] = WAYS) -> pd.DataFrame:
    """Return what each way costs: a row per way.

    The unit of the training is one picture through the UNet. A pass with a gradient counts as
    three: forward, and backward with about twice the work.

    Args:
        passes: name of a LoRA -> passes of its training.
        steps: denoising steps of a drawing with guidance, which takes two passes per step.
        ways: the ways.

    Returns:
        ``way``; ``drawn per picture`` and ``networks in memory`` while drawing; ``training,
        passes``; and ``training, in pictures``: how many pictures could be drawn with these passes.
    """
    rows = []
    for way in ways:
        trained = [name for name in (way.adapter, way.negative_adapter) if name]
        total = sum(passes[name] for name in trained)
        row: dict[str, object] = {"way": way.label.replace("\n", " ")}
        row |= {"drawn per picture": way.pictures, "networks in memory": way.networks}
        row |= {
            "training, passes": round(total),
            "training, in pictures": round(total / (2 * steps)),
        }
        rows.append(row)
    return pd.DataFrame(rows)
