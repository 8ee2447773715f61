"""The paper's qualitative figure: the same prompts and seeds in several models.

A rule that the figure states chooses the prompts; nobody picks prompts by looks.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from alignsd.compare.arms import ORIGINAL, PAPERS, Arm, labels
from alignsd.figures import alt
from alignsd.figures.pictures import (
    FLAWED_FRAME,
    LABEL,
    column_title,
    frame_legend,
    lattice,
    picture_grid,
    say,
    show,
    side_by_side,
)
from alignsd.figures.style import Look
from alignsd.figures.text import shortened


def groups_by_original(
    images: pd.DataFrame, metrics: pd.DataFrame, size: int
) -> dict[str, list[str]]:
    """Choose the first prompts whose original is drawn wrong, and the first drawn right.

    Args:
        images: ``arm, id, sample``.
        metrics: ``arm, id, status, flawed``. An id that is not good in every arm does not count.
        size: ids per group, each the first sample of a prompt.

    Returns:
        Words about a group -> ids of the group. The words say how many pictures the group stands
        for, and how many of these pictures the paper's arm draws right. Without a judge there is
        one group, the first ids.
    """
    good = metrics[metrics["status"] == "ok"]
    arms = images["arm"].nunique()
    is_everywhere = good.groupby("id")["arm"].nunique().eq(arms)
    first_samples = set(images.loc[images["sample"] == 0, "id"])
    in_all_arms = good[good["id"].map(is_everywhere)]
    verdicts = in_all_arms.pivot(index="id", columns="arm", values="flawed").sort_index()
    if verdicts.empty or verdicts.isna().any(axis=None):
        ids = [key for key in verdicts.index if key in first_samples]
        return {"the first prompts": ids[: 2 * size]}
    is_wrong = verdicts[ORIGINAL.name].astype(bool)
    groups = {}
    for word, group in (("wrong", verdicts[is_wrong]), ("right", verdicts[~is_wrong])):
        ids = [key for key in group.index if key in first_samples][:size]
        if ids:
            groups[_words_about(word, group, len(verdicts), len(ids))] = ids
    return groups or {"the first prompts": []}


def _words_about(word: str, group: pd.DataFrame, pictures: int, shown: int) -> str:
    """Return what a group stands for, in three lines.

    Args:
        word: ``"wrong"`` or ``"right"``, how the originals are drawn.
        group: the verdicts on the group's pictures, a column per arm.
        pictures: the number of pictures in both groups.
        shown: the number of prompts that the figure shows.
    """
    n = len(group)
    right = int((~group[PAPERS.name].astype(bool)).sum())
    lines = (
        f"original drawn {word}: {n} of {pictures} pictures ({100 * n / pictures:.0f} %)",
        f"adapted, negative prompt: {right} of these are right ({100 * right / n:.0f} %)",
        f"shown: the first {shown} prompts",
    )
    return "\n".join(lines)


def qualitative(
    fig: Figure,
    images: pd.DataFrame,
    folder: Path,
    groups: Mapping[str, Sequence[str]],
    arms: Sequence[Arm],
    flawed: Mapping[tuple[str, str], bool],
) -> Figure:
    """Draw groups of prompts and seeds side by side, a row per arm.

    A frame marks a picture in which the judge sees a flaw.

    Args:
        fig: where to draw.
        images, folder: as for ``pictures.picture_grid``.
        groups: from ``groups_by_original``.
        arms: rows, from top to bottom.
        flawed: ``(arm, id)`` -> whether the judge sees a flaw.
    """
    names = labels(arms)
    no_names = dict.fromkeys(names, "")
    if any(flawed.values()):
        frame_legend(fig, FLAWED_FRAME)
    columns = [max(1, len(ids)) for ids in groups.values()]
    panels = side_by_side(fig, columns, names.values())
    for index, (panel, (title, ids)) in enumerate(zip(panels, groups.items(), strict=True)):
        panel.suptitle(title, fontsize=9.5)
        picture_grid(panel, images, folder, ids, names if index == 0 else no_names, flawed)
    rows = ", ".join(" ".join(name.split()) for name in names.values())
    titles = "; ".join(", ".join(title.splitlines()) for title in groups)
    description = f"Pictures: the same prompts and seeds in rows: {rows}. Groups: {titles}."
    alt.describe(fig, description)
    return fig


def failures(fig: Figure, wrong: pd.DataFrame, images: pd.DataFrame, folder: Path) -> Figure:
    """Draw pictures of the original model in a row.

    The prompt stands above each picture, and what the judge sees beneath.

    Args:
        fig: where to draw.
        wrong: ``id, flaw`` of the pictures to show; a flaw of None is not named.
        images, folder: as for ``pictures.picture_grid``.
    """
    if wrong.empty:
        say(fig, "no picture to show")
        return fig
    originals = images[images["arm"] == ORIGINAL.name].set_index("id").loc[wrong["id"]]
    files = originals["file"].to_numpy()
    cells = pd.DataFrame({"row": "", "column": originals.index, "file": files})
    titles = {key: column_title(prompt) for key, prompt in originals["prompt"].items()}
    axes = lattice(fig, cells, folder, {"": ""}, titles)
    for ax, flaw in zip(axes[0], wrong["flaw"], strict=True):
        ax.set_xlabel(shortened(flaw or "", 24, 2), fontsize=9, parse_math=False)
    pairs = zip(originals["prompt"], wrong["flaw"], strict=True)
    words = "; ".join(f"{prompt}: {flaw or 'no flaw named'}" for prompt, flaw in pairs)
    description = f"Pictures of the original model and what the judge sees. {words}."
    alt.describe(fig, description)
    return fig


def guidance_scales(
    fig: Figure, drawn: Mapping[float, Sequence[np.ndarray]], prompts: Sequence[str]
) -> Figure:
    """Draw images at several scales of guidance: a row per image, a column per scale.

    Args:
        fig: where to draw; about 1.4 inches of height per row.
        drawn: scale -> images ``(height, width, 3)`` uint8, from ``generation.at_scales``.
        prompts: the prompt of each row.
    """
    axes = fig.subplots(len(prompts), len(drawn), squeeze=False)
    for column, (scale, images) in enumerate(drawn.items()):
        axes[0, column].set_title(f"guidance {scale:g}", fontsize=LABEL)
        for ax, image in zip(axes[:, column], images, strict=True):
            show(ax, image)
    look: Look = {"rotation": 0, "ha": "right", "va": "center", "fontsize": 9}
    for ax, prompt in zip(axes[:, 0], prompts, strict=True):
        ax.set_ylabel(shortened(prompt, 19, 4), parse_math=False, **look)
    scales = ", ".join(f"{scale:g}" for scale in drawn)
    alt.describe(fig, f"Pictures: {len(prompts)} prompts at the scales of guidance {scales}.")
    return fig
