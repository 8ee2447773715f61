"""Model cards: what a LoRA was trained on, and what was traded for what."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from alignsd.base.atomic import replacing
from alignsd.base.processes import first_does
from alignsd.beyond.ways import DRAWN, ORIGINAL, SETTINGS, Way

CARD = "README.md"
METRICS = {
    "flaw_rate": "drawn wrong, share",
    "match_rate": "shows the prompt, share",
    "hps": "HPS, 100 x cosine",
    "aesthetic": "aesthetic score",
    "utility": "simulated people's utility",
    "fid": "FID",
    "diversity": "diversity of a prompt's pictures",
    "saturation": "saturation, 0-255",
}


def write_cards(
    folders: Mapping[str, Path], arms: pd.DataFrame, ours: Mapping[str, str], model: str
) -> list[Path]:
    """Write a model card beside each LoRA, and return the files.

    The front matter is what the hub reads. The table has the original's numbers beside those of
    each way that uses the LoRA.

    Args:
        folders: name of a LoRA -> its folder.
        arms: ``arm, metric, value, low, high, n``.
        ours: name of a way -> our settings in words.
        model: the model that was trained further.
    """
    files = []
    for name, folder in folders.items():
        using = [way for way in DRAWN if name in (way.adapter, way.negative_adapter)]
        text = _card(name, using, arms, ours.get(name, ""), model)
        file = folder / CARD
        first_does(partial(_write, file, text))
        files.append(file)
    return files


def _write(file: Path, text: str) -> None:
    with replacing(file) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _card(name: str, using: Sequence[Way], arms: pd.DataFrame, settings: str, model: str) -> str:
    """Return the text of a card."""
    method = SETTINGS[name].method if name in SETTINGS else "see notebook 10"
    ways = [ORIGINAL, *using]
    lines = [
        "---",
        f"base_model: {model}",
        "library_name: diffusers",
        "tags: [lora, text-to-image, preference-alignment]",
        "---",
        "",
        f"# {name}",
        "",
        f"A LoRA for {model}. Method: {method}. Settings: {settings}.",
        "",
        *_use(name, using),
        "",
        "## What was traded for what",
        "",
        "Each number with its 95 % interval, over the same prompts and seeds.",
        "",
        *_table(ways, arms),
        "",
    ]
    return "\n".join(lines)


def _use(name: str, using: Sequence[Way]) -> list[str]:
    """Return how the LoRA is used, as lines."""
    if any(way.negative_adapter == name for way in using):
        return [
            "The LoRA belongs into the negative branch of guidance: a second network, which gets",
            "the negative prompt. `alignsd.beyond.negative_branch.load_two` loads both networks.",
        ]
    return ["`pipeline.load_lora_weights(folder)` loads the LoRA in diffusers."]


def _table(ways: Sequence[Way], arms: pd.DataFrame) -> list[str]:
    """Return the table of a card, as lines of Markdown."""
    labels = [" ".join(way.label.split()) for way in ways]
    lines = [_line(["", *labels]), "|---" * (len(ways) + 1) + "|"]
    rows = arms.set_index(["arm", "metric"])
    for metric, words in _metrics(arms).items():
        cells = [_cell(rows, way.name, metric) for way in ways]
        if any(cells):
            lines.append(_line([words, *cells]))
    return lines


def _metrics(arms: pd.DataFrame) -> dict[str, str]:
    """Return the metrics of a card: those that are known, then the shares of an attribute."""
    others = [metric for metric in arms["metric"].unique() if ": " in str(metric)]
    return METRICS | {metric: f"{metric}, share" for metric in others}


def _cell(rows: pd.DataFrame, arm: str, metric: str) -> str:
    if (arm, metric) not in rows.index:
        return ""
    row = rows.loc[(arm, metric)]
    return f"{row['value']:.3g} [{row['low']:.3g}, {row['high']:.3g}]"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
