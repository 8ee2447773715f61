"""Score your own pictures: rank pictures of one prompt by the Human Preference Score."""

import html
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from alignsd.base.errors import Problem
from alignsd.base.images import BadImage, read_image
from alignsd.base.reading import listed
from alignsd.kit.views import NO_FORMULAS, readable
from alignsd.models.clip import Clip
from alignsd.play import cards
from alignsd.reward.hps import score
from alignsd.teach.live import bundle, is_live

if TYPE_CHECKING:
    from ipywidgets import VBox

GOOD = "ok"
MOST = 40  # pictures that are shown; the table ranks every picture
COLUMNS = 6  # pictures side by side in a figure
# A file's content, or a picture (height, width, 3) uint8.
Source = bytes | np.ndarray


def rank(
    source: Path | Mapping[str, Source], prompt: str, hps: Clip
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Rank pictures of one prompt by HPS, the best first.

    Args:
        source: a folder of pictures; or name -> a file's content or pixels
            ``(height, width, 3)`` uint8.
        prompt: what all pictures were asked to show.
        hps: the CLIP with HPS's weights.

    Returns:
        A row per picture, ``place`` (1 is the best), ``name``, ``hps`` and ``status``; and the
        pictures by name. A file that is no picture comes last, without place and HPS, with the
        reason as status.

    Raises:
        Problem: if the folder does not exist or cannot be opened.
    """
    pictures: dict[str, np.ndarray] = {}
    reasons: dict[str, str] = {}
    for name, content in _contents(source).items():
        try:
            pictures[name] = content if isinstance(content, np.ndarray) else read_image(content)
        except BadImage as error:
            reasons[name] = error.found
    scores = score(hps, list(pictures.values()), [prompt] * len(pictures))
    ranked = pd.DataFrame({"name": list(pictures), "hps": scores})
    ranked = ranked.sort_values("hps", ascending=False, kind="stable", ignore_index=True)
    ranked = ranked.assign(status=GOOD)
    ranked.insert(0, "place", pd.array(range(1, len(ranked) + 1), dtype="Int64"))
    rest = pd.DataFrame({"name": list(reasons), "status": list(reasons.values())})
    if reasons:
        ranked = pd.concat([ranked, rest.assign(place=pd.NA, hps=np.nan)], ignore_index=True)
    return ranked.astype({"place": "Int64", "hps": float}), pictures


def _contents(source: Path | Mapping[str, Source]) -> Mapping[str, Any]:
    """Return name -> path, content or pixels."""
    if isinstance(source, Mapping):
        return source
    if not source.is_dir():
        raise Problem(
            "The folder of pictures does not exist.",
            expected="a folder with PNG, JPEG or WebP pictures",
            found=repr(str(source)),
            cause="a misspelt path",
            fix="give the path of a folder",
        )
    return {path.name: path for path in listed(source, lost=True)}


def what_may_be_compared(clip: str) -> str:
    """Return what the number of an HPS says, and what it does not say.

    Args:
        clip: name of the CLIP from which HPS was fine-tuned.
    """
    same_prompt = "Compare only pictures of the same prompt."
    if clip.startswith("miniature/"):
        return (
            f"{same_prompt} This HPS is the miniature's: it has seen nothing but 64 x 64 pictures "
            "of simulated people. So its number says nothing about photographs or about pictures "
            "of other models."
        )
    return (
        f"{same_prompt} HPS learned from choices among pictures that Stable Diffusion drew. "
        "So its number says little about photographs."
    )


class ScoreYourOwn:
    """Drop pictures and a prompt, and get the pictures ranked by HPS.

    Args:
        hps: the CLIP with HPS's weights.
        clip: name of the CLIP from which HPS was fine-tuned.
        prompt: the prompt that stands there first.
        pictures: what is ranked first: a folder, or name -> pixels.
    """

    def __init__(
        self, hps: Clip, clip: str, prompt: str, pictures: Path | Mapping[str, Source]
    ) -> None:
        self.hps = hps
        self.sentence = what_may_be_compared(clip)
        self.prompt = prompt
        self.pictures = pictures

    def ranked(
        self, pictures: Path | Mapping[str, Source], prompt: str
    ) -> tuple[list[cards.Card], list[str]]:
        """Return the cards of ranked pictures, and a sentence for each file that is no picture."""
        table, pixels = rank(pictures, prompt, self.hps)
        good = table[table["status"] == GOOD]
        shown = [
            cards.Card(f"{row.place}. {row.name}", pixels[row.name], (f"HPS {row.hps:.2f}",))
            for row in good.head(MOST).itertuples(index=False)
        ]
        bad = table[table["status"] != GOOD]
        left_out = [
            f"{name} is not ranked: {status}."
            for name, status in zip(bad["name"], bad["status"], strict=True)
        ]
        return shown, left_out

    def answer(self, pictures: Path | Mapping[str, Source], prompt: str) -> str:
        """Return the ranking as HTML; an error becomes a sentence."""
        if not prompt.strip():
            return _sentences(["Type the prompt that the pictures were asked to show."])
        try:
            shown, left_out = self.ranked(pictures, prompt)
        except Problem as problem:
            return _sentences([f"{problem.what} Fix: {problem.fix}."])
        except Exception as error:  # a widget would lose the traceback
            return _sentences([f"The scoring stopped with {type(error).__name__}: {error}"])
        return _sentences(left_out) + cards.as_html(shown) + _sentences([self.sentence])

    def figure(self) -> Figure:
        """Return the ranking of the first pictures as a figure."""
        shown, _ = self.ranked(self.pictures, self.prompt)
        fig = Figure(figsize=cards.figure_size(len(shown), COLUMNS))
        return cards.as_figure(fig, shown, COLUMNS)

    def _repr_mimebundle_(self, **wishes: Any) -> Any:
        words = f'Ranked by HPS for "{self.prompt}". {self.sentence}'
        if not is_live():
            return cards.as_output(self.figure(), words)
        first = self.answer(self.pictures, self.prompt)
        return bundle(lambda: self._widget(first), first, words)

    def _widget(self, first: str) -> "VBox":
        import ipywidgets  # a batch run needs no widgets

        prompt = ipywidgets.Text(
            self.prompt,
            description="prompt",
            continuous_update=False,
            layout={"width": "620px"},
        )
        files = ipywidgets.FileUpload(
            accept="image/*", multiple=True, description="your pictures", layout={"width": "220px"}
        )
        answer = ipywidgets.HTML(first)

        def again(_: object) -> None:
            own = {file["name"]: bytes(file["content"]) for file in files.value}
            answer.value = self.answer(own or self.pictures, prompt.value)

        prompt.observe(again, names="value")
        files.observe(again, names="value")
        box = ipywidgets.VBox([prompt, files, answer])
        box.add_class("alignsd-score-your-own")
        return box


def _sentences(lines: list[str]) -> str:
    rows = "".join(f"<li>{html.escape(readable(line))}</li>" for line in lines)
    style = "font-size:14px;padding-left:18px;margin:6px 0"
    return f'<ul class="{NO_FORMULAS}" style="{style}">{rows}</ul>' if lines else ""
