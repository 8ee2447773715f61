"""Draw the same prompts with the same seeds in every way."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from alignsd.base.errors import at_least
from alignsd.beyond.best_of import best_of
from alignsd.beyond.negative_branch import load_two
from alignsd.beyond.ways import ORIGINAL, Way, named
from alignsd.compare.generation import draw_rows
from alignsd.models.stable_diffusion import Drawing, image_seed, load_pipeline

MORE = "original_more_"  # arms with more pictures of the original, to choose from


def plan(
    original: pd.DataFrame, ways: Sequence[Way], identifier: str, prompts: int
) -> pd.DataFrame:
    """Return a row per picture: ``arm, id, prompt_id, sample, prompt, negative, seed, file``.

    Args:
        original: the original's rows of notebook 06's table of images.
        ways: the ways, in order.
        identifier: the text in front of the captions of the negatives.
        prompts: the first prompts that are drawn.

    Raises:
        Problem: if ``prompts`` is below 1.
    """
    at_least(1, prompt_count=prompts)
    ids = original["prompt_id"].drop_duplicates().head(prompts)
    rows = original[original["prompt_id"].isin(ids)]
    tables = []
    for way in ways:
        files = way.name + "/" + rows["id"] + ".png"
        negative = way.negative.format(identifier=identifier)
        tables.append(rows.assign(arm=way.name, negative=negative, file=files))
    return pd.concat(tables, ignore_index=True)


def more_of_the_original(rows: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """Return the rows of more pictures of the original: the same ids with other seeds.

    Args:
        rows: the original's rows of ``plan``.
        count: pictures more for each row.
        seed: the seed of the run.
    """
    tables = []
    for number in range(1, count + 1):
        arm = f"{MORE}{number}"
        keys = zip(rows["prompt_id"], rows["sample"], strict=True)
        seeds = [image_seed(seed, prompt_id, sample, number) for prompt_id, sample in keys]
        tables.append(rows.assign(arm=arm, seed=seeds, file=arm + "/" + rows["id"] + ".png"))
    return pd.concat(tables, ignore_index=True) if tables else rows.head(0)


def draw(
    table: pd.DataFrame,
    model: str,
    adapters: Mapping[str, Path],
    folder: Path,
    drawing: Drawing,
    device: str = "auto",
) -> None:
    """Draw the pictures of a plan that do not exist yet.

    Args:
        table: rows of ``plan`` and ``more_of_the_original``.
        model: the Stable Diffusion model, for ``load_pipeline``.
        adapters: the folder of each LoRA by the names in ``ways``.
        folder: where ``file`` of the table begins.
        drawing: steps, guidance and batch.
        device: for ``load_pipeline``.

    Raises:
        Problem: if a model or an adapter cannot be loaded, or an image cannot be written.
    """
    for arm, rows in table.groupby("arm", sort=False):
        name = ORIGINAL.name if str(arm).startswith(MORE) else str(arm)
        load = partial(_loaded, named(name), model, adapters, device)
        draw_rows(rows, load, folder, drawing)


def _loaded(
    way: Way, model: str, adapters: Mapping[str, Path], device: str
) -> StableDiffusionPipeline:
    adapter = adapters[way.adapter] if way.adapter else None
    if way.negative_adapter is None:
        return load_pipeline(model, device, adapter, way.strength)
    return load_two(model, device, adapter, adapters[way.negative_adapter])


def kept_by_hps(metrics: pd.DataFrame, way: Way) -> pd.DataFrame:
    """Return which pictures best-of-n by HPS keeps: ``arm`` (of the candidate) and ``id``.

    Each id has as many candidates as ``way.pictures``: the original's picture, and pictures of the
    same prompt with other seeds.

    Args:
        metrics: ``arm, id, hps`` of the original's pictures and of ``more_of_the_original``.
        way: says how many candidates there are.
    """
    arms = [ORIGINAL.name, *(f"{MORE}{number}" for number in range(1, way.pictures))]
    order = {arm: number for number, arm in enumerate(arms)}
    candidates = metrics[metrics["arm"].isin(arms)]
    numbered = candidates.assign(prompt_id=candidates["id"], sample=candidates["arm"].map(order))
    return best_of(numbered, "hps", way.pictures)[["arm", "id"]]


def as_arm(table: pd.DataFrame, kept: pd.DataFrame, way: Way) -> pd.DataFrame:
    """Return the rows of the kept pictures under the name of the way.

    Args:
        table: a row per picture, with ``arm`` and ``id``.
        kept: from ``kept_by_hps``.
        way: whose name the rows get.
    """
    rows = kept.merge(table, on=["arm", "id"], validate="one_to_one")
    return rows.assign(arm=way.name)


def with_kept(
    table: pd.DataFrame, kept_of: Mapping[Way, pd.DataFrame], names: Sequence[str]
) -> pd.DataFrame:
    """Return a table's rows of the named ways, with the pictures that the best of n keeps.

    Args:
        table: a row per picture, with ``arm`` and ``id``.
        kept_of: way -> what ``kept_by_hps`` returned.
        names: the ways, in order; arms with other names are left out.
    """
    more = [as_arm(table, kept, way) for way, kept in kept_of.items()]
    joined = pd.concat([table, *more], ignore_index=True)
    by_arm = {arm: rows for arm, rows in joined.groupby("arm", sort=False)}
    return pd.concat([by_arm[name] for name in names if name in by_arm], ignore_index=True)


def strong(ways: Sequence[Way], strengths: Sequence[float]) -> list[Way]:
    """Return each way at each strength."""
    return [way.at_strength(strength) for way in ways for strength in sorted(strengths)]


def from_strength_0(table: pd.DataFrame, ways: Sequence[Way]) -> pd.DataFrame:
    """Return a table of strengths in which each way begins at 0, where it is the original.

    Args:
        table: ``arm, metric, ...``, with rows of the original.
        ways: the ways at several strengths.
    """
    is_original = table["arm"] == ORIGINAL.name
    begins = [table[is_original].assign(arm=way.at_strength(0).name) for way in ways]
    return pd.concat([*begins, table[~is_original]], ignore_index=True)
