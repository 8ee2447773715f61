"""Draw how a simulated run becomes faster with GPUs."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, StrMethodFormatter

from alignsd.base.plotting.colours import BLACK, GREY
from alignsd.figures import alt
from alignsd.planning.scaling import LIMITS, totals

LEAST_SHARE = 0.1  # of the hours; a phase that takes less has no line


def long_phases(hours: pd.DataFrame) -> list[str]:
    """Return the phases that take a tenth of the hours or more on the fewest GPUs.

    Args:
        hours: by GPUs (rows) and phase (columns).
    """
    shares = hours.iloc[0] / hours.iloc[0].sum()
    return [str(name) for name in shares.index[shares >= LEAST_SHARE]]


def speed_up(fig: Figure, simulated: pd.DataFrame) -> Figure:
    """Draw the speed-up against the number of GPUs, and what the hours are spent on.

    Args:
        fig: where to draw; about 9 x 3.4 inches.
        simulated: from ``scaling.simulate``.
    """
    table = totals(simulated)
    left, right = fig.subplots(1, 2)
    gpus = table["gpus"].to_numpy()
    left.plot(gpus, gpus / gpus[0], linestyle="--", color=GREY, label="ideal")
    left.plot(gpus, table["speed_up"] / gpus[0], marker="o", color=BLACK, label="whole run")
    hours = simulated.pivot(index="gpus", columns="phase", values="hours")
    for phase in long_phases(hours):
        left.plot(gpus, hours[phase].iloc[0] / hours[phase], marker=".", label=phase)
    left.set_xscale("log", base=2)
    left.set_yscale("log", base=2)
    left.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    left.set_ylabel(f"speed-up against {gpus[0]} GPU" + ("s" if gpus[0] > 1 else ""))
    left.legend()
    shares = simulated.groupby("gpus")[list(LIMITS)].sum()
    shares = 100 * shares.div(shares.sum(axis=1), axis=0)
    present = [name for name in LIMITS if shares[name].max() > 0]
    right.stackplot(gpus, [shares[name] for name in present], labels=present)
    right.set_xscale("log", base=2)
    right.set_ylim(0, 100)
    right.set_ylabel("share of the hours, %")
    right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    for ax in (left, right):
        ax.set_xticks(gpus, [str(count) for count in gpus])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xlabel("GPUs")
    alt.describe(
        left,
        "Line plot: speed-up of a simulated run against the number of GPUs, beside a dashed line "
        f"of the ideal; whole run {alt.listed(gpus, table['speed_up'] / gpus[0])}.",
    )
    last = shares.iloc[-1]
    alt.describe(
        right,
        "Stacked areas: what the hours are spent on, in percent, against the number of GPUs; on "
        f"{gpus[-1]} GPUs {alt.listed(present, [last[name] for name in present])}.",
    )
    return fig
