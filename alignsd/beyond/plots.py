"""Figures of the other ways: best of n, the arms side by side, and the over-optimization panel."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alignsd.base.plotting.colours import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE
from alignsd.beyond.ways import named
from alignsd.figures import alt
from alignsd.figures.intervals import percent
from alignsd.figures.pictures import lattice, say, sheet, side_by_side
from alignsd.figures.style import DARK_GREY
from alignsd.select.diffusiondb import Corpus, read_pictures

SCORES = {"random": GREY, "clip_score": ORANGE, "aesthetic": GREEN, "hps": BLUE, "judge": BLACK}
LABELS = {
    "random": "the first picture",
    "clip_score": "CLIP score",
    "aesthetic": "aesthetic score",
    "hps": "HPS",
    "judge": "the judge itself",
}
LABELS_OF_PAIRS = {
    "dpo_people": "people's pairs",
    "dpo_relabelled": "people's pairs, ordered by HPS",
    "dpo_hps": "pairs by HPS",
}
METRICS = {
    "hps": "HPS",
    "aesthetic": "aesthetic score",
    "utility": "people's utility (simulated)",
    "flaw_rate": "drawn wrong, %",
    "match_rate": "shows the prompt, %",
    "fid": "FID (lower is better)",
    "diversity": "diversity of a prompt's pictures",
    "saturation": "saturation, 0-255",
}
FAR_FROM_0 = ("match_rate", "hps")  # drawn as dots, on an axis that does not begin at 0
FAR_WORDS = "\n(axis does not begin at 0)"
PERCENT = ("flaw_rate", "match_rate")
TONES = ("#F2D3B3", "#D9A066", "#A05B2C", "#5A2E12", PURPLE)


def best_of_lines(ax: Axes, table: pd.DataFrame, metric: str = "flaw_rate") -> Axes:
    """Draw the flaw rate of the best of n pictures against n, a line per score.

    Args:
        ax: where to draw.
        table: ``by, n, metric, value, low, high, count``, from ``best_of.table``.
        metric: a share, 0-1.
    """
    rows = table[table["metric"] == metric]
    described = []
    for by, of_score in rows.groupby("by", sort=False):
        values, reach = percent(of_score)
        label = LABELS.get(str(by), str(by))
        colour = SCORES.get(str(by), PURPLE)
        ax.errorbar(
            of_score["n"], values, yerr=reach, marker="o", capsize=3, color=colour, label=label
        )
        described.append(f"{label} {', '.join(f'{value:.1f}' for value in values)}")
    count = int(rows["count"].max()) if len(rows) else 0
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="pictures to choose from", ylabel=METRICS.get(metric, metric))
    ax.set_title(f"the best of n, {count:,} prompts, 95 % intervals")
    ax.set_ylim(0)
    ax.legend()
    alt.describe(
        ax, f"{METRICS.get(metric, metric)} for growing n, by score: {'; '.join(described)}."
    )
    return ax


def samples_of_prompts(
    fig: Figure, corpus: pd.DataFrame, parts: Corpus, prompts: int, samples: int
) -> Figure:
    """Draw the first pictures of some prompts: a column per prompt, and flawed pictures framed.

    Args:
        fig: where to draw.
        corpus: ``part, image, prompt_id, sample, flawed``, from ``best_of.measure_corpus``.
        parts: where the pictures lie.
        prompts: columns; the first prompts with enough pictures.
        samples: rows.
    """
    has_enough = corpus.groupby("prompt_id")["sample"].transform("size") >= samples
    enough = corpus[has_enough & (corpus["sample"] < samples)]
    first = enough["prompt_id"].drop_duplicates().head(prompts)
    shown = enough[enough["prompt_id"].isin(first)].sort_values(["sample", "prompt_id"])
    pixels = dict(read_pictures(parts, shown))
    ordered = {image: pixels[image] for image in shown["image"] if image in pixels}
    verdicts = shown.set_index("image")["flawed"].dropna().astype(bool).to_dict()
    return sheet(fig, ordered, verdicts, columns=len(first))


def pairs_of_sources(fig: Figure, tables: Mapping[str, pd.DataFrame], columns: int) -> Figure:
    """Draw pairs of each source side by side, the winner above the loser.

    Args:
        fig: where to draw.
        tables: way -> pairs with files, ``prompt, winner, loser, folder``.
        columns: pairs per source, each of another prompt.
    """
    panels = side_by_side(fig, [columns] * len(tables), ["winner"])
    for panel_of_source, (name, table) in zip(panels, tables.items(), strict=True):
        panel_of_source.suptitle(LABELS_OF_PAIRS.get(name, name), fontsize=10)
        first = table.drop_duplicates("prompt").head(columns)
        if first.empty:
            say(panel_of_source, "no pairs")
            continue
        keys = [str(number) for number in range(len(first))]
        rows = {"winner": "winner", "loser": "loser"}
        cells = [
            pd.DataFrame({"row": role, "column": keys, "file": first[role].to_numpy()})
            for role in rows
        ]
        folder = Path(first["folder"].iloc[0])
        lattice(panel_of_source, pd.concat(cells), folder, rows, dict.fromkeys(keys, ""))
    alt.describe(fig, f"{columns} pairs of each source, the winner above the loser.")
    return fig


def bars(fig: Figure, arms: pd.DataFrame, metrics: Sequence[str]) -> Figure:
    """Draw metrics side by side, a bar per way with a 95 % interval.

    Args:
        fig: where to draw.
        arms: ``arm, metric, value, low, high, n``.
        metrics: from left to right.
    """
    shown = [metric for metric in metrics if (arms["metric"] == metric).any()]
    axes = fig.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for ax, metric in zip(axes, shown, strict=True):
        _bars_of(ax, arms, metric)
    return fig


def _bars_of(ax: Axes, arms: pd.DataFrame, metric: str) -> None:
    rows = arms[arms["metric"] == metric].iloc[::-1]
    scale = 100 if metric in PERCENT else 1
    ways = [named(name) for name in rows["arm"]]
    values, low, high = (scale * rows[name].to_numpy() for name in ("value", "low", "high"))
    labels = [way.label for way in ways]
    reach = [(values - low).clip(0), (high - values).clip(0)]
    far = metric in FAR_FROM_0
    if far:
        for y, way in enumerate(ways):
            reach_of_way = [[reach[0][y]], [reach[1][y]]]
            ax.errorbar(values[y], y, xerr=reach_of_way, fmt="o", capsize=3, color=way.colour)
        ax.set_yticks(range(len(ways)), labels)
    else:
        colours = [way.colour for way in ways]
        ax.barh(labels, values, color=colours, xerr=reach, error_kw={"capsize": 2})
        ax.set_xlim(0, 1.04 * max(high))
    ax.set_xlabel(METRICS.get(metric, metric) + (FAR_WORDS if far else ""))
    ax.grid(axis="y", visible=False)
    listed = alt.listed((label.replace("\n", " ") for label in labels), values)
    alt.describe(ax, f"Bars of {METRICS.get(metric, metric)}: {listed}.")


def panel(fig: Figure, table: pd.DataFrame, metrics: Sequence[str] = tuple(METRICS)) -> Figure:
    """Draw the over-optimization panel: each metric along the strength of each way.

    Args:
        fig: where to draw.
        table: ``arm, metric, value, low, high, n``; arms as ``Way.at_strength`` names them.
        metrics: the metrics, in rows of four.
    """
    shown = [metric for metric in metrics if (table["metric"] == metric).any()]
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    axes = fig.subplots(rows, columns, sharex=True, squeeze=False).flat
    placed = table.assign(
        strength=table["arm"].map(lambda name: named(name).strength),
        base=table["arm"].str.partition("@")[0],
    )
    for ax, metric in zip(axes, shown, strict=False):
        _lines(ax, placed[placed["metric"] == metric], metric)
    for ax in list(axes):
        ax.set_axis_off()
    handles, labels = fig.axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=3)
    return fig


def _lines(ax: Axes, rows: pd.DataFrame, metric: str) -> None:
    scale = 100 if metric in PERCENT else 1
    described = []
    for base, of_way in rows.groupby("base", sort=False):
        way = named(str(base))
        ordered = of_way.sort_values("strength")
        values = scale * ordered["value"].to_numpy()
        low, high = (scale * ordered[name].to_numpy() for name in ("low", "high"))
        label = way.label.replace("\n", " ")
        ax.plot(ordered["strength"], values, marker="o", ms=3.5, color=way.colour, label=label)
        ax.fill_between(ordered["strength"], low, high, color=way.colour, alpha=0.1, lw=0)
        described.append(f"{label} from {values[0]:.3g} to {values[-1]:.3g}")
    ax.set_title(METRICS.get(metric, metric), fontsize=9)
    ax.set_xlabel("strength of the LoRA")
    alt.describe(ax, f"{METRICS.get(metric, metric)} along the strength: {'; '.join(described)}.")


def reward_and_truth(ax: Axes, table: pd.DataFrame, truth: str = "flaw_rate") -> Axes:
    """Draw the truth against the reward: a path per way, from strength 0 to the largest strength.

    Strength 0 is the original model, a grey square. A path ends at the largest strength with a
    large dot.

    Args:
        ax: where to draw.
        table: as for ``panel``.
        truth: the metric on the vertical axis.
    """
    paths = _paths(table, truth)
    for base, path in paths.items():
        way = named(base)
        label = way.label.replace("\n", " ")
        sizes = [4.5] * (len(path) - 1) + [11]
        ax.plot(path["hps"], path[truth], color=way.colour, label=label)
        for (_, point), size in zip(path.iterrows(), sizes, strict=True):
            ax.plot(point["hps"], point[truth], "o", ms=size, color=way.colour)
    begun = pd.concat(paths.values()) if paths else pd.DataFrame(columns=["strength"])
    original = begun[begun["strength"] == 0].head(1)
    if len(original):
        ax.plot(original["hps"], original[truth], "s", ms=9, color=GREY, label="original", zorder=3)
    ax.set(xlabel="HPS (the reward)", ylabel=METRICS.get(truth, truth))
    ax.legend(fontsize=8)
    ends = ", ".join(
        f"{base} at HPS {path['hps'].iloc[-1]:.1f} and {path[truth].iloc[-1]:.3g}"
        for base, path in paths.items()
    )
    alt.describe(
        ax, f"Paths of {METRICS.get(truth, truth)} against HPS along the strength, ends: {ends}."
    )
    return ax


def _paths(table: pd.DataFrame, truth: str) -> dict[str, pd.DataFrame]:
    """Return ``strength``, ``hps`` and the truth of each way, in ascending strength."""
    values = table.pivot(index="arm", columns="metric", values="value")
    bases = table["arm"].str.partition("@")[0].drop_duplicates()
    scale = 100 if truth in PERCENT else 1
    paths = {}
    for base in bases:
        of_way = values[values.index.str.partition("@").get_level_values(0) == base]
        strength = [named(arm).strength for arm in of_way.index]
        path = pd.DataFrame(
            {"strength": strength, "hps": of_way["hps"], truth: scale * of_way[truth]}
        )
        paths[str(base)] = path.sort_values("strength")
    return paths


def attribute_bars(ax: Axes, arms: pd.DataFrame, name: str, classes: Sequence[str]) -> Axes:
    """Draw how often each class of an attribute occurs in each way, as stacked bars.

    Args:
        ax: where to draw.
        arms: ``arm, metric, value``; the metrics are ``<name>: <class>``, from ``measures.panel``.
        name: of the attribute.
        classes: from left to right; without classes, the axes say that nothing was measured.
    """
    if not classes:
        ax.set_axis_off()
        ax.text(0.5, 0.5, "no attribute is measured", ha="center")
        alt.describe(ax, "No attribute is measured.")
        return ax
    ways = [named(arm) for arm in arms["arm"].drop_duplicates()][::-1]
    values = arms.set_index(["arm", "metric"])["value"]
    labels = [way.label for way in ways]
    left = pd.Series(0.0, index=range(len(ways)))
    for number, each in enumerate(classes):
        share = pd.Series([100 * values.get((way.name, f"{name}: {each}"), 0.0) for way in ways])
        ax.barh(labels, share, left=left, color=TONES[number % len(TONES)], label=each)
        left = left + share
    ax.set(xlabel=f"pictures by {name}, %", xlim=(0, 100))
    ax.grid(visible=False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(classes))
    first = alt.listed(
        (way.label.replace("\n", " ") for way in ways),
        [100 * values.get((way.name, f"{name}: {classes[0]}"), 0.0) for way in ways],
    )
    alt.describe(ax, f"Stacked bars of {name}. Percent of {classes[0]}: {first}.")
    return ax


def curves(fig: Figure, curves_by_way: Mapping[str, pd.DataFrame], window: int = 20) -> Figure:
    """Draw the inner numbers of the trainings on pairs: how often right, and both errors.

    Args:
        fig: where to draw.
        curves_by_way: way -> ``step, accuracy, winner, loser``, from ``preference.read_curve``.
        window: steps of the running mean.
    """
    left, middle, right = fig.subplots(1, 3)
    titles = {
        "accuracy": "pairs ordered right, %",
        "winner": "error on winners,\ntrained minus frozen",
        "loser": "error on losers,\ntrained minus frozen",
    }
    for ax, (column, title) in zip((left, middle, right), titles.items(), strict=True):
        ends = []
        for name, curve in curves_by_way.items():
            way = named(name)
            mean = curve[column].rolling(window, min_periods=1).mean()
            values = 100 * mean if column == "accuracy" else mean
            label = way.label.replace("\n", " ")
            ax.plot(curve["step"] + 1, values, color=way.colour, label=label)
            ends.append(f"{label} {values.iloc[-1]:.3g}")
        neutral = 50 if column == "accuracy" else 0
        ax.axhline(neutral, color=DARK_GREY, lw=0.8, ls=":")
        ax.set_title(title, fontsize=10)
        ax.set_xlabel(f"step (mean of {window})")
        alt.describe(ax, f"{title} at the end: {', '.join(ends)}.".replace("\n", " "))
    handles, labels = left.get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return fig


def reward_curve(ax: Axes, losses: pd.DataFrame) -> Axes:
    """Draw the reward of each step's pictures along a training.

    Args:
        ax: where to draw.
        losses: ``step, loss``; the loss is minus the mean reward.
    """
    way = named("reward")
    reward = -losses["loss"]
    ax.plot(losses["step"] + 1, reward, color=way.colour)
    ax.set(xlabel="step", ylabel="mean HPS of the step's pictures")
    ends = f"from {reward.iloc[0]:.1f} to {reward.iloc[-1]:.1f}" if len(reward) else "no steps"
    alt.describe(ax, f"HPS of the pictures drawn in each step: {ends}.")
    return ax
