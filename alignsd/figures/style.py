"""The look of every figure and table: colours, font, sizes.

``base.plotting.colours`` holds the palette.
"""

from typing import Any

import pandas as pd
from IPython.core.getipython import get_ipython
from matplotlib import pyplot as plt

from alignsd.base.plotting.colours import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION
from alignsd.figures import alt
from alignsd.teach.live import is_live

DARK_GREY = "#555555"  # for words that should not be the first thing a reader sees

Look = dict[str, Any]  # keyword arguments or settings of matplotlib
FONT = "DejaVu Sans"  # comes with matplotlib

LOOK: Look = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 10,
    "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE, BLACK]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "errorbar.capsize": 3,
    "figure.constrained_layout.use": True,
    "figure.dpi": 110,
    "figure.facecolor": "white",
    "font.family": FONT,
    "font.size": 10,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "image.cmap": "viridis",
    "image.interpolation": "nearest",
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
    "text.parse_math": False,  # dollar signs in a prompt are dollar signs
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}


def use() -> None:
    """Set the look of all figures and tables that follow. A notebook calls this function once."""
    plt.style.use(LOOK)
    pd.set_option("display.html.use_mathjax", False)  # dollar signs in a table are dollar signs
    shell = get_ipython()
    if shell is not None:
        plt.switch_backend(plt.get_backend())  # a backend that is loaded later would undo the rest
        alt.show_with_words(shell, is_live())
