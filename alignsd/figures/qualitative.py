"""The paper's qualitative figure: the same prompts and seeds in several models, chosen by a rule that the figure states."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from alignsd.figures.comparing import ADAPTED, ARMS, ORIGINAL
from alignsd.figures.pictures import (
    FLAWED,
    column_title,
    frame_legend,
    lattice,
    picture_grid,
    side_by_side,
)
from alignsd.figures.text import shortened


def groups_by_original(images: pd.DataFrame, metrics: pd.DataFrame, size: int) -> dict[str, list[str]]:
    """Chooses pictures by a rule: the first prompts whose original is drawn wrong, and the first whose original is right.

    Args:
        images: rows of notebook 06 (``arm, id, sample``).
        metrics: rows of notebook 07 (``arm, id, status, flawed``); ids that are not good in every arm do not count.
        size: ids per group, each the first sample of its prompt.

    Returns:
        Words about a group (how many there are, and how many the paper's arm draws right) -> its ids. Without a judge there
        is one group, the first ids.
    """
    good = metrics[metrics["status"] == "ok"]
    everywhere = good.groupby("id")["arm"].nunique().eq(images["arm"].nunique())
    first = set(images.loc[images["sample"] == 0, "id"])
    seen = good[good["id"].map(everywhere)].pivot(index="id", columns="arm", values="flawed").sort_index()
    if seen.empty or seen.isna().any(axis=None):
        return {"the first prompts": [key for key in seen.index if key in first][:2 * size]}
    groups = {}
    for word, part in (("wrong", seen[seen[ORIGINAL].astype(bool)]), ("right", seen[~seen[ORIGINAL].astype(bool)])):
        ids, right = [key for key in part.index if key in first][:size], int((~part[ADAPTED].astype(bool)).sum())
        if ids:
            groups[f"original drawn {word}: {len(part)} of {len(seen)} pictures ({100 * len(part) / len(seen):.0f} %)\n"
                   f"adapted, negative prompt: {right} of these are right ({100 * right / len(part):.0f} %)\n"
                   f"shown: the first {len(ids)} prompts"] = ids
    return groups or {"the first prompts": []}


def qualitative(fig: Figure, images: pd.DataFrame, folder: Path, groups: Mapping[str, Sequence[str]], arms: Sequence[str],
                flawed: Mapping[tuple[str, str], bool]) -> Figure:
    """Draws groups of prompts and seeds side by side, a row per arm; pictures in which the judge sees a flaw are framed.

    Args:
        fig: where to draw.
        images, folder: as for ``pictures.picture_grid``.
        groups: from ``groups_by_original``.
        arms: rows, from top to bottom.
        flawed: ``(arm, id)`` -> whether the judge sees a flaw.
    """
    names = {arm: ARMS.get(arm, arm) for arm in arms}
    if any(flawed.values()):
        frame_legend(fig, FLAWED)
    parts = side_by_side(fig, [max(1, len(ids)) for ids in groups.values()], names.values())
    for place, (part, (title, ids)) in enumerate(zip(parts, groups.items(), strict=True)):
        part.suptitle(title, fontsize=9.5)
        picture_grid(part, images, folder, ids, names if place == 0 else dict.fromkeys(names, ""), flawed)
    return fig


def failures(fig: Figure, wrong: pd.DataFrame, images: pd.DataFrame, folder: Path) -> Figure:
    """Draws pictures of the original model in a row, each with its prompt above and what the judge sees beneath.

    Args:
        fig: where to draw.
        wrong: rows of notebook 07 (``id, flaw``) to show; a flaw of None is not named.
        images, folder: as for ``pictures.picture_grid``.
    """
    if wrong.empty:
        fig.text(0.5, 0.5, "no picture to show", ha="center")
        return fig
    rows = images[images["arm"] == ORIGINAL].set_index("id").loc[wrong["id"]]
    cells = pd.DataFrame({"row": "", "column": rows.index, "file": rows["file"].to_numpy()})
    titles = {key: column_title(prompt) for key, prompt in rows["prompt"].items()}
    axes = lattice(fig, cells, folder, {"": ""}, titles)
    for ax, flaw in zip(axes[0], wrong["flaw"], strict=True):
        ax.set_xlabel(shortened(flaw or "", 24, 2), fontsize=9, parse_math=False)
    return fig
