"""Figures of the evaluation: arms with their intervals, Table 4, the votes of the user study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from alignsd import paper
from alignsd.base.plotting.colours import BLACK, BLUE, GREEN, GREY
from alignsd.compare.arms import CONTROL, ORIGINAL, PAPERS, TABLE_4, Arm, named
from alignsd.figures import alt
from alignsd.figures.intervals import percent
from alignsd.figures.pictures import LABEL, column_title, lattice, say, show_file
from alignsd.figures.style import DARK_GREY, Look

# What the colours of the arms mean.
KINDS = {
    "original model": ORIGINAL.colour,
    "control, no preferences": CONTROL.colour,
    "adapted, as in the paper": PAPERS.colour,
    "adapted, other prompts": GREEN,
}
# Metrics of Table 4, the labels of their axes, and the digits that the paper prints.
METRICS = {
    "fid": "FID on {features},\nlower is better",
    "aesthetic": "aesthetic score, 1-10,\nhigher is better",
    "clip_score": "CLIP score, cosine,\nhigher is better",
    "hps": "HPS, raw cosine,\nhigher is better",
}
DIGITS = {"fid": 2, "aesthetic": 2, "clip_score": 4, "hps": 4}
LOWER_IS_BETTER = "fid"
ROOM_AT_RIGHT = 1.14  # of the longest bar, for the number beside the bar


@dataclass(frozen=True)
class Outcome:
    """How a vote can end: name in tables, sign of the adapted model's lead, words, colour."""

    name: str
    sign: int
    words: str
    colour: str


OUTCOMES = (
    Outcome("original", -1, "the original wins", GREY),
    Outcome("tie", 0, "tie", BLACK),
    Outcome("adapted", 1, "the adapted model wins", BLUE),
)


def flaws_and_match(fig: Figure, arms: pd.DataFrame) -> Figure:
    """Draw every arm's flaw rate and prompt match by the judge, with what the colours mean.

    Args:
        fig: where to draw.
        arms: ``arm, metric, value, low, high, n``; shares 0-1.
    """
    left, right = fig.subplots(1, 2, sharey=True)
    rate_bars(left, arms, "flaw_rate", "drawn wrong (judge)")
    rate_dots(right, arms, "match_rate", "shows what was asked for (judge)")
    handles = [Patch(color=colour, label=words) for words, colour in KINDS.items()]
    fig.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return fig


def rate_bars(ax: Axes, arms: pd.DataFrame, metric: str, title: str) -> Axes:
    """Draw a share of images for every arm as bars, in percent with 95 % intervals.

    Args:
        ax: where to draw.
        arms: ``arm, metric, value, low, high, n``; shares 0-1.
        metric: ``"flaw_rate"`` or ``"match_rate"``.
        title: above the axes.
    """
    upwards = arms[arms["metric"] == metric].iloc[::-1]
    drawn = [named(name) for name in upwards["arm"]]
    values, reach = percent(upwards)
    ends = 100 * upwards["high"].to_numpy()
    ax.barh(
        [arm.label for arm in drawn],
        values,
        height=0.62,
        color=[arm.colour for arm in drawn],
        xerr=reach,
        error_kw={"capsize": 3, "lw": 1.2},
    )
    for y, (value, end) in enumerate(zip(values, ends, strict=True)):
        ax.text(end + 0.02 * max(ends), y, f"{value:.1f}", va="center", fontsize=9)
    ax.set(title=title, xlabel=_counted(upwards))
    ax.set_xlim(0, ROOM_AT_RIGHT * max([1, *ends]))
    ax.grid(axis="y", visible=False)
    percents = alt.listed((arm.label for arm in drawn), values)
    description = f"Bars: percent of images {title}: {percents}."
    alt.describe(ax, description)
    return ax


def rate_dots(ax: Axes, arms: pd.DataFrame, metric: str, title: str) -> Axes:
    """Draw a share of images for every arm as dots, for shares near 100 % in every arm.

    An axis that does not start at 0 is marked. The arguments are the same as for ``rate_bars``.
    """
    upwards = arms[arms["metric"] == metric].iloc[::-1]
    values, reach = percent(upwards)
    look: Look = {"textcoords": "offset points", "ha": "center", "fontsize": 9}
    for y, name in enumerate(upwards["arm"]):
        arm = named(name)
        xerr = reach[:, [y]]
        ax.errorbar(values[y], arm.label, xerr=xerr, fmt="o", ms=6, color=arm.colour)
        ax.annotate(f"{values[y]:.1f}", (values[y], y), (0, 6), **look)
    ax.set(title=title, xlabel=_counted(upwards))
    ax.margins(x=0.08)
    ax.grid(axis="y", visible=False)
    _mark_cut(ax)
    labels = [named(name).label for name in upwards["arm"]]
    description = f"Dots: percent of images that {title}: {alt.listed(labels, values)}."
    alt.describe(ax, description)
    return ax


def _counted(rows: pd.DataFrame) -> str:
    """Return the words under an axis of percents."""
    if rows.empty:
        return "not measured"
    return f"% of images (n = {rows['n'].min()} per arm, 95 % interval)"


def table_4(
    fig: Figure, arms: pd.DataFrame, fid_features: str, which: Sequence[Arm] = TABLE_4
) -> Figure:
    """Draw Table 4 of the paper: a panel per metric, with 95 % intervals.

    The paper's values stand there in words.

    Args:
        fig: where to draw.
        arms: ``arm, metric, value, low, high, n``; ``hps`` as 100 x cosine.
        fid_features: the network of FID; ``"inception"`` is the paper's, any other a judge.
        which: arms to show, from top to bottom.
    """
    rows = _as_printed(arms)
    measured = set(rows["arm"])
    upwards = [arm for arm in reversed(which) if arm.name in measured]
    features = "Inception's features" if fid_features == "inception" else "the judge's features"
    axes = fig.subplots(1, len(METRICS), sharey=True)
    for ax, (metric, title) in zip(axes, METRICS.items(), strict=True):
        _panel(ax, rows[rows["metric"] == metric].set_index("arm"), metric, upwards)
        ax.set_xlabel(title.format(features=features))
    axes[0].set_yticks(range(len(upwards)), [arm.label for arm in upwards])
    n = rows["n"].min()
    title = f"n = {n} images per model, 95 % intervals; axes with // do not start at 0"
    fig.suptitle(title, fontsize=10)
    panels = [_in_words(rows, metric, which) for metric in METRICS]
    description = f"Dots, a panel per metric of Table 4. {' '.join(panels)}"
    alt.describe(fig, description)
    return fig


def _in_words(rows: pd.DataFrame, metric: str, arms: Sequence[Arm]) -> str:
    of_metric = rows[rows["metric"] == metric].set_index("arm")["value"]
    measured = [arm for arm in arms if arm.name in of_metric.index]
    values = [float(of_metric[arm.name]) for arm in measured]
    labels = [arm.label for arm in measured]
    return f"{metric}: {alt.listed(labels, values, DIGITS[metric])}."


def _panel(ax: Axes, rows: pd.DataFrame, metric: str, arms: Sequence[Arm]) -> None:
    """Draw one metric of some arms, from bottom to top."""
    digits = DIGITS[metric]
    ordered = rows.reindex([arm.name for arm in arms])
    for y, (arm, row) in enumerate(zip(arms, ordered.itertuples(), strict=True)):
        reach = [[row.value - row.low], [row.high - row.value]]
        ax.errorbar(row.value, y, xerr=reach, fmt="o", ms=4.5, color=arm.colour)
        ax.text(row.value, y + 0.16, f"{row.value:.{digits}f}", ha="center", va="bottom")
        if arm.name in paper.TABLE_4:
            words = f"paper {paper.TABLE_4[arm.name][metric]:.{digits}f}"
            look: Look = {"ha": "center", "va": "top", "fontsize": 8.5, "color": DARK_GREY}
            ax.text(row.value, y - 0.16, words, **look)
    ax.set_ylim(-0.65, len(arms) - 0.4)
    ax.margins(x=0.45)
    ax.locator_params(axis="x", nbins=3)
    ax.grid(axis="y", visible=False)
    if metric == LOWER_IS_BETTER:
        _start_at_zero(ax)
    else:
        _mark_cut(ax)


def _start_at_zero(ax: Axes) -> None:
    """Let the x axis start at 0.

    Less room at the right moves low values, and their labels, off the y axis.
    """
    ax.set_xlim(0, 0.9 * ax.get_xlim()[1])


def _mark_cut(ax: Axes) -> None:
    """Mark an x axis that does not start at 0 by two strokes."""
    if ax.get_xlim()[0] <= 0:
        return
    stroke = [(-1, -2), (1, 2)]
    ax.plot(
        [0.035, 0.065],
        [0, 0],
        transform=ax.transAxes,
        marker=stroke,
        ms=9,
        mew=1.2,
        ls="none",
        color="black",
        clip_on=False,
        zorder=5,
    )


def _as_printed(arms: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of Table 4's metrics, with HPS as the raw cosine that the paper prints."""
    rows = arms[arms["metric"].isin(METRICS)].reset_index(drop=True)
    scale = np.where(rows["metric"] == "hps", 0.01, 1.0)
    scaled = {column: scale * rows[column] for column in ("value", "low", "high")}
    return rows.assign(**scaled)


def metric_frame(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of arms in text: a row per arm, a column per metric, ``value [low, high]``.

    Args:
        table: ``arm, metric, value, low, high``.
    """
    texts = []
    for row in table.itertuples():
        digits = DIGITS.get(row.metric, 3)
        texts.append(f"{row.value:.{digits}f} [{row.low:.{digits}f}, {row.high:.{digits}f}]")
    in_text = table.assign(text=texts)
    return in_text.pivot_table(
        index="arm", columns="metric", values="text", aggfunc="first", sort=False
    )


def table_4_frame(arms: pd.DataFrame, against_control: pd.DataFrame) -> pd.DataFrame:
    """Return Table 4 in text: an arm per row, ``value [low, high]``.

    Below the arms stand whether the control keeps up with the paper's arm, and the paper's rows.

    Args:
        arms: ``arm, metric, value, low, high``.
        against_control: from ``arm_metrics.against_control``.
    """
    measured = metric_frame(_as_printed(arms))
    verdicts = control_verdicts(against_control)
    verdict_row = pd.DataFrame(verdicts, index=["control against the paper's arm"])
    published = {}
    for name, values in paper.TABLE_4.items():
        texts = {metric: f"{value:.{DIGITS[metric]}f}" for metric, value in values.items()}
        published[f"paper: {name}"] = texts
    paper_rows = pd.DataFrame(published).T
    everything = pd.concat([measured, verdict_row, paper_rows])
    return everything.reindex(columns=list(METRICS)).fillna("-")


def control_verdicts(against_control: pd.DataFrame) -> dict[str, str]:
    """Return for each metric of Table 4 how regularization alone does against the paper's arm.

    The control is "better", "worse", or there is "no difference seen": the interval of the paired
    difference (paper's arm - control) holds 0. A metric that was not measured is left out.
    """
    rows = against_control[against_control["metric"].isin(METRICS)]
    verdicts = {}
    for row in rows.itertuples():
        verdicts[row.metric] = _control_verdict(row.metric, row.value, row.low, row.high)
    return verdicts


def _control_verdict(metric: str, value: float, low: float, high: float) -> str:
    """Return how the control does by one metric, given the paper's arm minus the control."""
    if low <= 0 <= high:
        return "no difference seen"
    control_is_higher = value < 0
    higher_is_better = metric != LOWER_IS_BETTER
    return "better" if control_is_higher == higher_is_better else "worse"


def votes_histogram(ax: Axes, votes: pd.DataFrame, majorities: pd.DataFrame) -> Axes:
    """Draw how many prompts gave the adapted picture how many votes.

    The legend has the share of prompts that each side wins.

    Args:
        ax: where to draw.
        votes: ``prompt_id, original, adapted, voters``.
        majorities: ``outcome, value, low, high, n``.
    """
    counted = votes[votes["voters"] > 0]
    if counted.empty:
        ax.text(0.5, 0.5, "nobody was asked", ha="center", va="center", transform=ax.transAxes)
        alt.describe(ax, "No drawing: nobody was asked.")
        return ax
    voters = int(counted["voters"].max())
    lead = np.sign(counted["adapted"] - counted["original"])
    shares = majorities.set_index("outcome")
    winners = lead.map({outcome.sign: outcome.name for outcome in OUTCOMES})
    seaborn.histplot(
        counted.assign(winner=winners),
        x="adapted",
        hue="winner",
        palette={outcome.name: outcome.colour for outcome in OUTCOMES},
        discrete=True,
        multiple="stack",
        shrink=0.88,
        alpha=1,
        linewidth=0,
        legend=False,
        ax=ax,
    )
    handles = []
    for outcome in OUTCOMES:
        share = 100 * shares.loc[outcome.name, ["value", "low", "high"]]
        words = f"{outcome.words}: {share['value']:.0f} % of prompts"
        words += f" [{share['low']:.0f}, {share['high']:.0f}]"
        handles.append(Patch(color=outcome.colour, label=words))
    ax.set(xlabel=f"votes for the adapted model's picture, of {voters}", ylabel="prompts")
    ax.set(xlim=(-0.7, voters + 0.7), ylim=(0, 1.42 * ax.get_ylim()[1]))
    ax.set_xticks(range(0, voters + 1, max(1, voters // 10)))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(axis="x", visible=False)
    title = f"n = {len(counted)} prompts, 95 % intervals"
    ax.legend(handles=handles, loc="upper left", title=title, alignment="left")
    outcomes = "; ".join(str(handle.get_label()) for handle in handles)
    description = f"Histogram: prompts by votes for the adapted picture. {outcomes}. {title}."
    alt.describe(ax, description)
    return ax


def majorities_beside(ax: Axes, studies: Mapping[str, pd.DataFrame]) -> Axes:
    """Draw the results of several user studies as points with 95 % intervals, beside the paper's.

    Args:
        ax: where to draw.
        studies: who voted -> ``majorities``: ``outcome, value, low, high, n``; a study in which
            nobody voted has no rows, and is named without points.
    """
    names = []
    for row, (name, majorities) in enumerate(studies.items()):
        names.append(f"{name}\n{_number_of_prompts(majorities)}")
        _outcomes(ax, majorities, row)
    names.append("the paper\nn = 100 prompts")
    _outcomes_of_paper(ax, len(studies))
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_xlabel("% of prompts, 95 % interval")
    ax.set_xlim(-3, 103)
    ax.grid(axis="y", visible=False)
    handles = [Patch(color=outcome.colour, label=outcome.words) for outcome in OUTCOMES]
    ax.figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    results = "; ".join(_study_in_words(*study) for study in studies.items())
    description = f"Points: percent of prompts by outcome. {results}."
    alt.describe(ax, description)
    return ax


def _number_of_prompts(majorities: pd.DataFrame) -> str:
    if majorities.empty:
        return "nobody voted yet"
    n = majorities["n"].max()
    return f"n = {n} prompts"


def _outcomes(ax: Axes, majorities: pd.DataFrame, row: int) -> None:
    """Draw how often a study ended in each outcome; the points lie a little below each other."""
    for outcome in OUTCOMES:
        share = majorities[majorities["outcome"] == outcome.name]
        if share.empty:
            continue
        value, reach = percent(share)
        y = row - 0.18 * outcome.sign
        ax.errorbar(value, y, xerr=reach, fmt="o", ms=5, color=outcome.colour)


def _outcomes_of_paper(ax: Axes, row: int) -> None:
    for outcome in OUTCOMES:
        share = paper.MAJORITIES.get(outcome.name)
        if share is not None:
            ax.plot(share, row, "D", color=outcome.colour, ms=6)


def _study_in_words(name: str, majorities: pd.DataFrame) -> str:
    if majorities.empty:
        return f"{name}: nobody voted yet"
    is_win = majorities["outcome"] != "lead"
    wins = majorities[is_win]
    percents = alt.listed(wins["outcome"], 100 * wins["value"])
    return f"{name}: {percents}"


def studied_pairs(
    fig: Figure, pairs: pd.DataFrame, folder: Path, studies: Mapping[str, pd.DataFrame]
) -> Figure:
    """Draw the pairs of a user study, with how many people of each group picked each picture.

    Args:
        fig: where to draw; about 1 inch of width per pair.
        pairs: ``prompt_id, prompt, original, adapted``, from ``user_study.pairs``; a handful.
        folder: the folder of the files.
        studies: who voted -> votes, ``prompt_id, original, adapted, voters``.
    """
    if pairs.empty:
        say(fig, "no pair to show")
        return fig
    arms = {"original": ORIGINAL.label, "adapted": PAPERS.label}
    cells = pairs.melt("prompt_id", list(arms), var_name="row", value_name="file")
    cells = cells.rename(columns={"prompt_id": "column"})
    prompts = pairs.set_index("prompt_id")["prompt"]
    titles = prompts.map(column_title).to_dict()
    axes = lattice(fig, cells, folder, arms, titles)
    for axes_of_row, arm in zip(axes, arms, strict=True):
        for ax, prompt_id in zip(axes_of_row, titles, strict=True):
            counts = [_count_of_votes(votes, prompt_id, arm) for votes in studies.values()]
            words = "\n".join(counts)
            ax.set_xlabel(words, fontsize=LABEL)
    groups = " · ".join(studies)
    fig.suptitle(f"votes under each picture, line by line: {groups}", fontsize=9)
    description = f"Pictures: {len(pairs)} pairs, with the votes of {groups} under each."
    alt.describe(fig, description)
    return fig


def _count_of_votes(votes: pd.DataFrame, prompt_id: str, arm: str) -> str:
    """Return how many voters of a prompt picked an arm's picture, such as "14 of 20"."""
    is_of_prompt = votes["prompt_id"] == prompt_id
    of_prompt = votes[is_of_prompt].to_dict("records")
    for row in of_prompt:
        if row["voters"]:
            return f"{row[arm]:.0f} of {row['voters']:.0f}"
    return "-"


def scored_pictures(
    fig: Figure, images: pd.DataFrame, folder: Path, metrics: pd.DataFrame
) -> Figure:
    """Draw a few pictures side by side, each with its arm above and its metrics below.

    Args:
        fig: where to draw; about 2.4 inches of width per picture.
        images: ``arm, id, file``; a handful.
        folder: the folder of the files.
        metrics: a row per image, from ``image_metrics.measure``.
    """
    keys = ["arm", "id"]
    shown = images[[*keys, "file"]].merge(metrics, on=keys)
    axes = fig.subplots(1, len(shown), squeeze=False)[0]
    for ax, row in zip(axes, shown.to_dict("records"), strict=True):
        label = named(row["arm"]).label
        title = label.replace("\n", " ")
        lines = _scores_in_lines(row)
        show_file(ax, folder / row["file"])
        ax.set_title(title)
        ax.set_xlabel("\n".join(lines))
        description = f"Picture, {title}: {'; '.join(lines)}."
        alt.describe(ax, description)
    return fig


def _scores_in_lines(row: Mapping[str, Any]) -> list[str]:
    lines = [f"HPS {row['hps']:.2f}, CLIP score {row['clip_score']:.4f}"]
    lines.append(f"aesthetic score {row['aesthetic']:.2f}")
    flaw = row["flaw"]
    if isinstance(flaw, str):  # neither a bad picture nor a run without a judge
        seen = "no flaw" if flaw == "none" else flaw
        lines.append(f"the judge sees: {seen}")
    return lines
