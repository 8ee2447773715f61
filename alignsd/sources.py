"""Resolve names that lead to the real world or to the simulated world.

A parameter such as ``export`` or ``judge`` is the path of a real file, or a name such as
``"miniature"``. Only this module knows both worlds: every other module takes files or objects, and
no chapter of the kit imports the miniature.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from alignsd.base.errors import Problem, check_seed
from alignsd.base.judge import Attribute, Judge, Utility
from alignsd.base.paths import user_path
from alignsd.collect.exports import export_files
from alignsd.compare.prompts import read_prompts
from alignsd.compare.reference import pictures_in
from alignsd.compare.user_study import Chances
from alignsd.kit.tables import read_table, resume_command
from alignsd.miniature.conversations import Server
from alignsd.miniature.corpus import CorpusRecipe, write_corpus
from alignsd.miniature.people import luce as luce  # the rule by which simulated people choose
from alignsd.miniature.samples import samples as samples_of_miniature
from alignsd.select import diffusiondb

if TYPE_CHECKING:  # torch and diffusers take seconds to load, and most functions here need neither
    from torch import nn

    from alignsd.adapt.regularization import Wanted
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


def attribute(name: str) -> Attribute | None:
    """Return the reader of an attribute that no prompt names and nobody asks for.

    Args:
        name: ``"miniature"`` for the skin tone of the simulated person, or ``""``.

    Returns:
        The reader; None for ``""``: then no such attribute is measured.

    Raises:
        Problem: if there is no such reader.
    """
    if not name:
        return None
    if name != "miniature":
        raise Problem(
            f"There is no attribute {name!r:.80}.",
            expected='"miniature", or "" to measure none',
            found=repr(name)[:80],
            cause="a misspelt parameter",
            fix='set attribute = "" in the parameters cell, or --set attribute=',
        )
    from alignsd.miniature.skin import TONES, skin_tones  # loads torch

    return Attribute("skin tone", TONES, skin_tones)


def utility(name: str) -> Utility | None:
    """Return what pictures are worth to the simulated people, who follow a judge's verdicts.

    Nobody is asked: simulated people stand for real people.

    Args:
        name: as in ``judge``.

    Returns:
        A function of pictures and their prompts that returns the utilities ``(n,)``; None for
        ``""``: then no utility is known.

    Raises:
        Problem: as in ``judge``.
    """
    if not name:
        return None
    from alignsd.miniature.judge import load_judge  # loads torch
    from alignsd.miniature.people import utilities
    from alignsd.models.registry import resolve

    return partial(utilities, load_judge(Path(resolve(name))))


def samples() -> dict[str, np.ndarray]:
    """Return pictures that the miniature's Stable Diffusion drew, none left out: number -> pixels.

    Pixels are ``(64, 64, 3)`` uint8.
    """
    return samples_of_miniature()


def parts(
    source: str,
    own: Path,
    recipe: CorpusRecipe,
    model: str,
    drawing: "Drawing",
    device: str = "auto",
) -> diffusiondb.Corpus:
    """Return the folder of DiffusionDB parts that a parameter ``parts`` names.

    Args:
        source: a folder, a URL that fsspec can read, or ``"miniature"``: draw a corpus into
            ``own``.
        own: where the miniature writes.
        recipe: what the simulated users ask for.
        model: the Stable Diffusion that draws the corpus, see ``stable_diffusion.load_pipeline``.
        drawing: how the corpus is drawn.
        device: ``"auto"`` or a torch device.

    Raises:
        Problem: if the folder does not exist, if the URL cannot be read with the packages at hand,
            or if ``own`` holds a corpus of another recipe.
    """
    if source != "miniature":
        return diffusiondb.parts_folder(source, resume_command(own))
    write_corpus(own, recipe, model, drawing, device)
    return own


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
    """Return the reference pictures of FID, and how many files were left out, and why.

    Args:
        source: a folder of images, or ``"miniature"`` for one render without a flaw of each
            prompt's scene. No model has seen these renders. We do not know the paper's pictures.
        prompts: the prompts of the generated images.
        seed: of what a prompt leaves open in a render.

    Returns:
        See ``reference.pictures_in``.

    Raises:
        Problem: if the seed is out of range, or at the end of the pictures, if there are too few.
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
    from alignsd.miniature.judge import JudgeFeatures, load_judge
    from alignsd.models.registry import resolve

    return JudgeFeatures(load_judge(Path(resolve(name))))


def class_network(name: str) -> "nn.Module":
    """Return a network that turns pictures ``(n, 3, h, w)`` uint8 into p(class | picture).

    Args:
        name: as in ``feature_network``. The judge's classes are the scenes of the miniature.

    Raises:
        Problem: if the weights are missing, or cannot be fetched.
    """
    if name == "inception":
        from alignsd.compare.features import inception_classes  # loads torchmetrics

        return inception_classes()
    from alignsd.miniature.judge import JudgeClasses, load_judge
    from alignsd.models.registry import resolve

    return JudgeClasses(load_judge(Path(resolve(name))))


def regularization(name: str, own: Path, seed: int, wanted: "Wanted") -> Path:
    """Return the imagefolder that a parameter ``regularization`` names.

    Args:
        name: an imagefolder; a folder of webdataset shards, which are unpacked into ``own``; or
            ``"miniature"``, which writes pictures of the simulated web into ``own``.
        own: where to write.
        seed: fixes which pictures of the simulated web are written.
        wanted: how many pictures, and how high they rate.

    Raises:
        Problem: if the folder does not exist, the shards cannot be unpacked, or the simulated web
            has too few pictures that rate so high.
    """
    # Both load libraries that take seconds; no other parameter needs these libraries.
    if name == "miniature":
        from alignsd.miniature.web_pictures import write_regularization

        write_regularization(own, seed, wanted)
        return own
    from alignsd.adapt.webshards import as_imagefolder

    folder = user_path(name)
    if not os.path.isdir(folder):  # also False for a name that no folder can have
        raise Problem(
            "The folder of regularization images does not exist.",
            expected="an imagefolder, webdataset shards, or miniature",
            found=f"a file, {name!r}" if os.path.isfile(folder) else repr(name[:200]),
            cause="a misspelt path, or a file in place of its folder",
            fix="--set regularization=miniature, or the path of a folder",
        )
    return as_imagefolder(folder, own)


def export(source: str, folder: Path, server: Server) -> list[Path]:
    """Return the files of the Discord export that a parameter ``export`` names.

    Args:
        source: a JSON file, a folder of JSON files, or ``"miniature"``.
        folder: where the simulated server writes an export; nothing is written for a real export.
        server: the simulated server's settings.

    Raises:
        Problem: if there is no such file, or no JSON file in the folder.
    """
    if source == "miniature":
        from alignsd.miniature.server import write_export  # loads torch

        return [write_export(folder, server)]
    return export_files(source)


def choice_chances(
    source: str, files: Sequence[Path], origin: pd.DataFrame
) -> dict[str, np.ndarray]:
    """Return the chance that a random simulated person picks each picture of a choice.

    Pictures are joined by message and file name, never by position.

    Args:
        source: as in ``export``.
        files: from ``export``.
        origin: ``id``, ``message_id``, ``file_names``, from ``hpd.write_pictures``.

    Returns:
        The choice's ``id`` as text -> ``(n,)`` chances, in the order of ``file_names``. Empty for a
        real export, since nobody knows the chances of real people.

    Raises:
        Problem: if the simulated server's table of chances is missing or was changed.
    """
    if source != "miniature":
        return {}
    columns = ("message_id", "file_name", "p")
    truth = read_table(files[0].parent / "truth.parquet", columns)
    chance = truth.set_index(["message_id", "file_name"])["p"].to_dict()
    chances = {}
    for row in origin.itertuples():
        keys = [(row.message_id, name) for name in row.file_names]
        unknown = set(keys) - chance.keys()
        if unknown:
            raise Problem(
                "The simulated server does not know some pictures.",
                expected="a row for each picture in truth.parquet",
                found=f"no row for {len(unknown)} pictures of message {row.message_id}",
                cause="choices of another export",
                fix="run the notebook from the top",
            )
        chances[str(row.id)] = np.array([chance[key] for key in keys])
    return chances
