"""Pairs of pictures of one prompt, a winner and a loser: from people's choices, or from HPS.

People's pairs can be ordered by HPS: then only the labels differ, and the pictures are the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from alignsd.adapt.examples import Examples, encode_examples
from alignsd.base.errors import Problem, at_least, check_seed
from alignsd.select import rule
from alignsd.select.diffusiondb import Corpus, read_pictures
from alignsd.select.imagefolder import write_imagefolder
from alignsd.select.sharpness import BLUR_LIMIT

FROM_PEOPLE = ["prompt", "winner", "loser", "folder"]
FROM_SCORES = ["prompt", "winner", "loser", "winner_hps", "loser_hps"]
ROLES = ("winner", "loser")


@dataclass(frozen=True)
class Pairs:
    """Winners and losers, encoded; row i of both belongs to pair i.

    Attributes:
        winners: what is preferred, with the pairs' prompts as captions.
        losers: what is not preferred, with the same captions.
    """

    winners: Examples
    losers: Examples

    def __len__(self) -> int:
        return len(self.winners)

    @property
    def captions(self) -> list[str]:
        """Return the prompt of each pair."""
        return self.winners.captions

    def exchanged(self, where: np.ndarray) -> "Pairs":
        """Return the same pairs, winner and loser exchanged where ``where`` is true, ``(n,)``."""
        winners, losers = self.winners.positions, self.losers.positions
        return Pairs(
            replace(self.winners, positions=np.where(where, losers, winners)),
            replace(self.losers, positions=np.where(where, winners, losers)),
        )


def from_people(choices: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return the pairs of people's choices: the chosen picture against each other picture.

    Args:
        choices: from ``collect.hpd.read_choices``.
        folder: the data set's folder.

    Returns:
        ``prompt``, ``winner`` and ``loser`` (files below the folder), ``folder``; a choice among n
        pictures gives n - 1 rows.
    """
    rows = []
    for choice in choices.itertuples():
        files = list(choice.file_path)
        winner = files.pop(choice.human_preference)
        rows += [(choice.prompt, winner, loser, str(folder)) for loser in files]
    return pd.DataFrame(rows, columns=FROM_PEOPLE)


def disputed(scores: pd.DataFrame) -> np.ndarray:
    """Return for each pair of people's choices whether a score prefers the loser.

    A pair of equal scores is not disputed.

    Args:
        scores: of the choices that ``from_people`` takes, from ``reward.hps.score_choices``.

    Returns:
        bool, ``(n,)``, in the order of ``from_people``.
    """
    differs = []
    for _, of_choice in scores.groupby("id", sort=False):
        chosen = of_choice.loc[of_choice["preferred"], "score"].item()
        others = of_choice.loc[~of_choice["preferred"], "score"]
        differs.append((others > chosen).to_numpy())
    return np.concatenate(differs) if differs else np.zeros(0, dtype=bool)


def exchanged(pairs: pd.DataFrame, where: np.ndarray) -> pd.DataFrame:
    """Return the same pairs, winner and loser exchanged where ``where`` is true, ``(n,)``."""
    winner, loser = pairs["winner"], pairs["loser"]
    return pairs.assign(winner=winner.mask(where, loser), loser=loser.mask(where, winner))


def from_scores(
    scores: pd.DataFrame,
    margin: float,
    limit: float = BLUR_LIMIT,
    minimum: int = rule.MINIMUM_IMAGES,
) -> pd.DataFrame:
    """Return the pairs that HPS makes of a scored corpus.

    The picture of a prompt with the highest HPS stands against every picture of the prompt that has
    a lower HPS by ``margin`` or more. The first id of tied best pictures wins.

    Args:
        scores: from ``select.scoring.read_scores``.
        margin: points of HPS; 0 takes every other picture of the prompt.
        limit: pictures with a lower sharpness are dropped, as in the selection.
        minimum: prompts with fewer sharp pictures are dropped, as in the selection.

    Returns:
        ``prompt``, ``winner`` and ``loser`` (``<part>/<image>``), ``winner_hps``, ``loser_hps``;
        ordered by prompt and loser, whatever the order of ``scores``.

    Raises:
        Problem: if ``margin`` is below 0 or not finite, or ``rule.group`` refuses the scores.
    """
    at_least(0, margin=margin)
    groups = rule.group(scores, limit, minimum)
    images = groups.assign(picture=groups["part"] + "/" + groups["image"])
    best = images.loc[images.groupby("prompt", sort=False)["hps"].idxmax()]
    columns = ["prompt", "picture", "hps"]
    pairs = images[columns].merge(best[columns], on="prompt", suffixes=("_loser", "_winner"))
    is_other = pairs["picture_loser"] != pairs["picture_winner"]
    is_clear = pairs["hps_winner"] - pairs["hps_loser"] >= margin
    names = {
        "picture_winner": "winner",
        "picture_loser": "loser",
        "hps_winner": "winner_hps",
        "hps_loser": "loser_hps",
    }
    clear = pairs[is_other & is_clear].rename(columns=names)
    return clear[FROM_SCORES].reset_index(drop=True)


def at_random(pairs: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """Return the pairs, or so many drawn at random, in their order.

    A corpus of full size has millions of pairs, and a training sees only some.

    Args:
        pairs: one per row.
        most: how many are kept at most.
        seed: fixes the pairs that are drawn.

    Raises:
        Problem: if ``most`` is below 1, or the seed is out of range.
    """
    if most < 1:
        raise Problem(
            "A training sees no pair.",
            expected="1 pair or more: pair_steps x pair_batch",
            found=f"{most}",
            cause="pair_steps or pair_batch is below 1",
            fix="--set pair_steps=200 --set pair_batch=12",
        )
    check_seed(seed)
    if len(pairs) <= most:
        return pairs
    chosen = np.random.default_rng(seed).choice(len(pairs), most, replace=False)
    return pairs.iloc[np.sort(chosen)].reset_index(drop=True)


def unpack(pairs: pd.DataFrame, parts: Corpus, folder: Path) -> pd.DataFrame:
    """Write the pictures of ``from_scores`` as PNG files, and return the pairs with these files.

    Existing files are not written again. Several processes divide the pictures.

    Args:
        pairs: from ``from_scores``.
        parts: copy of DiffusionDB that was scored.
        folder: where to write; becomes an imagefolder, see ``imagefolder.write_imagefolder``.

    Returns:
        The pairs, with files below ``folder`` as ``winner`` and ``loser``, and with a column
        ``folder``. A pair with a picture that can no longer be read is left out.

    Raises:
        Problem: if a part is missing or was replaced, or a file cannot be written.
    """
    pictures = _pictures_of(pairs)
    file_of = dict(zip(pictures["image"], pictures["file_name"], strict=True))

    def read(missing: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
        for image, pixels in read_pictures(parts, missing):
            yield file_of[image], pixels

    write_imagefolder(folder, pictures, read)
    files = pictures.set_index("picture")["file_name"]
    readable = files[[(folder / file).is_file() for file in files]]
    with_files = pairs.assign(
        winner=pairs["winner"].map(readable),
        loser=pairs["loser"].map(readable),
        folder=str(folder),
    )
    return with_files.dropna(subset=["winner", "loser"]).reset_index(drop=True)


def _pictures_of(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return each picture once: ``picture, text, part, image, file_name``."""
    columns = {"winner": "picture", "loser": "picture", "prompt": "text"}
    both = [pairs[[role, "prompt"]].rename(columns=columns) for role in ROLES]
    pictures = pd.concat(both).drop_duplicates("picture").sort_values("picture")
    names = pictures["picture"].str.split("/", n=1, expand=True)
    is_png = pictures["picture"].str.lower().str.endswith(".png")
    return pictures.assign(
        part=names[0],
        image=names[1],
        file_name=pictures["picture"].where(is_png, pictures["picture"] + ".png"),
    )


def encode_pairs(
    pipeline: StableDiffusionPipeline,
    table: pd.DataFrame,
    size: int,
    seed: int,
    store: Path,
) -> Pairs:
    """Encode the pictures of pairs, each picture once, also if the picture stands in many pairs.

    Args:
        pipeline: with the autoencoder that encodes.
        table: ``prompt``, ``winner`` and ``loser`` (files below the folder), ``folder``. Tables of
            several sources may be joined.
        size, seed, store: as for ``encode_examples``. A store belongs to one table.

    Raises:
        Problem: if there are no pairs, or ``encode_examples`` refuses the pictures.
    """
    if table.empty:
        raise Problem(
            "There are no pairs to train on.",
            expected="1 pair or more",
            found="0 pairs",
            cause="no picture of a prompt leads by the margin, or there are no choices",
            fix="lower the margin, or look at the scores or the choices",
        )
    files = [table[["folder", role]].set_axis(["folder", "file_name"], axis=1) for role in ROLES]
    numbers, pictures = pd.factorize(pd.MultiIndex.from_frame(pd.concat(files)))
    distinct = pictures.to_frame(index=False, name=["folder", "file_name"])
    # Captions and labels belong to the pairs, not to the pictures.
    examples = encode_examples(pipeline, distinct.assign(text="", label=""), size, seed, store)
    winners, losers = np.split(numbers, 2)
    prompts = table["prompt"].tolist()
    return Pairs(_rows(examples, winners, prompts), _rows(examples, losers, prompts))


def _rows(examples: Examples, positions: np.ndarray, captions: list[str]) -> Examples:
    """Return examples of encoded pictures; a picture may stand in several rows."""
    return Examples(examples.files, positions, captions, np.zeros(len(captions), dtype=bool))
