"""The playground: every knob of a drawing at hand, and the pictures of all models side by side."""

import html
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from alignsd.base.errors import Problem
from alignsd.kit.views import NO_FORMULAS, readable
from alignsd.models.stable_diffusion import Drawing
from alignsd.play import cards
from alignsd.play.newest import Newest
from alignsd.play.studio import ARM_OF_ADAPTER, Studio, Wish, plan_seed
from alignsd.teach.live import bundle, is_live

if TYPE_CHECKING:
    from ipywidgets import ValueWidget, VBox

LARGEST_SEED = 99  # of the slider; a hundred first noises are enough to play with
SLIDERS = ("seed", "guidance", "steps", "strength")
TEXT_WIDTH, SLIDER_WIDTH, LABEL_WIDTH = "740px", "370px", "115px"
SHOWN_NAMES = 6  # unknown words in a remark


@dataclass(frozen=True)
class Settings:
    """Where the knobs of the playground stand.

    Attributes:
        prompt: what all models are asked to draw.
        seed: number of the first noise, see ``studio.plan_seed``.
        steps: denoising steps.
        guidance: the guidance scale.
        negative: the negative prompt of all models; empty for nothing.
        strength: of the LoRAs, 0 to 1.
        adapters: the models that draw; ``""`` is the original.
    """

    prompt: str
    seed: int
    steps: int
    guidance: float
    negative: str
    strength: float
    adapters: tuple[str, ...]

    def wishes(self) -> list[Wish]:
        """Return what the studio shall draw, a picture per model."""
        return [
            Wish(
                prompt=self.prompt,
                seed=plan_seed(self.seed),
                adapter=adapter,
                negative=self.negative,
                strength=self.strength if adapter else 1.0,
            )
            for adapter in self.adapters
        ]

    @property
    def words(self) -> str:
        """Return the settings as one line of text."""
        negative = f'"{self.negative}"' if self.negative else "none"
        return (
            f'prompt "{self.prompt}", seed {self.seed}, {self.steps} steps, '
            f"guidance {self.guidance:g}, negative prompt {negative}, "
            f"LoRA strength {self.strength:g}"
        )


@dataclass(frozen=True)
class Shown:
    """What the playground shows of some settings.

    Attributes:
        cards: the pictures; empty if nothing could be drawn.
        remark: a sentence on the drawing, or the reason why nothing was drawn.
    """

    cards: tuple[cards.Card, ...]
    remark: str


class Playground:
    """Pictures of all models for any prompt, seed, guidance, negative prompt and LoRA strength.

    In JupyterLab the object shows knobs, and draws again when a knob is moved. In a batch run it
    shows the pictures of the first settings.

    Args:
        studio: draws and scores.
        prompts: examples to choose from; the first is drawn first.
        negative: the negative prompt of the first pictures.
        drawing: steps and guidance of the first pictures.
        seed: number of the first noise, 0 to 99.
    """

    def __init__(
        self,
        studio: Studio,
        prompts: Sequence[str],
        negative: str,
        drawing: Drawing,
        seed: int = 0,
    ) -> None:
        self.studio = studio
        self.prompts = list(prompts)
        adapters = tuple(arm.adapter for arm in studio.arms())
        self.first = Settings(
            prompt=self.prompts[0],
            seed=min(seed, LARGEST_SEED),
            steps=drawing.steps,
            guidance=drawing.guidance,
            negative=negative,
            strength=1.0,
            adapters=adapters,
        )

    def show(self, settings: Settings) -> Shown:
        """Draw what the settings say; an error becomes a remark."""
        if not settings.adapters:
            return Shown((), "Choose at least one model.")
        started = time.monotonic()
        try:
            drawing = Drawing(settings.steps, settings.guidance)
            drawn = self.studio.draw(settings.wishes(), drawing)
        except Problem as problem:
            return Shown((), f"{problem.what} Expected: {problem.expected}. Fix: {problem.fix}.")
        except Exception as error:  # in a widget a traceback would be lost or stand far away
            return Shown((), f"The drawing stopped with {type(error).__name__}: {error}")
        seconds = time.monotonic() - started
        shown = []
        for picture in drawn:
            arm = ARM_OF_ADAPTER[picture.wish.adapter]
            shown.append(cards.card(picture, arm.label.replace("\n", " "), arm.colour))
        drawn_in = f"Drawn in {seconds:.1f} s with seed {settings.seed}."
        remark = " ".join([drawn_in, *self.remarks(settings)])
        return Shown(tuple(shown), remark)

    def remarks(self, settings: Settings) -> list[str]:
        """Return sentences on what the model cannot do with the texts."""
        said = []
        unknown = self.studio.unknown_words(f"{settings.prompt} {settings.negative}")
        if unknown:
            named = ", ".join(unknown[:SHOWN_NAMES])
            said.append(f"The model has never seen these words: {named}.")
        if self.studio.fitting(settings.prompt) != settings.prompt:
            said.append("The prompt is too long: the model reads its first words.")
        if settings.guidance <= 1 and settings.negative:
            said.append("With guidance 1 the model does not look at the negative prompt.")
        return said

    def figure(self) -> Figure:
        """Return the pictures of the first settings as a figure."""
        shown = self.show(self.first)
        count = max(1, len(shown.cards))
        width = 3.2 * count
        fig = Figure(figsize=cards.figure_size(count, count, width))
        if shown.cards:
            return cards.as_figure(fig, shown.cards, count)
        fig.text(0.5, 0.5, shown.remark, ha="center", wrap=True)
        return fig

    def _repr_mimebundle_(self, **wishes: Any) -> Any:
        words = f"In JupyterLab you move every knob. Here: {self.first.words}."
        if not is_live():
            return cards.as_output(self.figure(), words)
        shown = self.show(self.first)
        return bundle(lambda: self._widget(shown), cards.as_html(shown.cards), words)

    def _widget(self, shown: Shown) -> "VBox":
        return panel(self, shown)


def panel(playground: Playground, shown: Shown) -> "VBox":
    """Return the knobs and the pictures as widgets of ipywidgets.

    Args:
        playground: draws.
        shown: the pictures of the first settings.
    """
    import ipywidgets  # a batch run needs no widgets

    knobs, models = _knobs(playground), _models(playground)
    state = ipywidgets.HTML(_state(shown.remark))
    pictures = ipywidgets.HTML(cards.as_html(shown.cards))

    def settings() -> Settings:
        values = {name: knob.value for name, knob in knobs.items()}
        adapters = tuple(adapter for adapter, box in models.items() if box.value)
        return Settings(**values, adapters=adapters)

    def show(shown: Shown) -> None:
        if shown.cards:
            pictures.value = cards.as_html(shown.cards)
        state.value = _state(shown.remark)

    newest = Newest(playground.show, show)

    def moved(_: object) -> None:
        state.value = _state("drawing ...", is_busy=True)
        newest.ask(settings())

    for knob in (*knobs.values(), *models.values()):
        knob.observe(moved, names="value")
    examples = _examples(playground.prompts, knobs["prompt"])
    row = {"flex_flow": "row wrap"}
    texts = [examples, knobs["prompt"], knobs["negative"]]
    sliders = ipywidgets.HBox([knobs[name] for name in SLIDERS], layout=row)
    named = ipywidgets.Label("models", layout={"width": LABEL_WIDTH, "justify_content": "flex-end"})
    boxes = ipywidgets.HBox([named, *models.values()], layout=row)
    box = ipywidgets.VBox([*texts, sliders, boxes, state, pictures])
    box.add_class("alignsd-playground")
    return box


def _look(width: str) -> dict[str, Any]:
    return {"style": {"description_width": LABEL_WIDTH}, "layout": {"width": width}}


def _examples(prompts: Sequence[str], prompt: "ValueWidget") -> "ValueWidget":
    """Return a list of prompts; a prompt that is chosen becomes the value of a widget."""
    import ipywidgets

    options = [("choose an example ...", ""), *((text, text) for text in prompts)]
    look = _look(TEXT_WIDTH)
    examples = ipywidgets.Dropdown(options=options, value="", description="examples", **look)

    def chosen(change: dict[str, Any]) -> None:
        if change["new"]:
            prompt.value = change["new"]

    examples.observe(chosen, names="value")
    return examples


def _knobs(playground: Playground) -> "dict[str, ValueWidget]":
    """Return a widget per field of ``Settings`` but the models, at the first settings."""
    from ipywidgets import FloatSlider, IntSlider, Text

    first, look = playground.first, _look(SLIDER_WIDTH)
    words = {"continuous_update": False, **_look(TEXT_WIDTH)}
    steps = {"min": 1, "max": max(20, first.steps)}
    guidance = {"min": 1, "max": max(6.0, 2 * first.guidance), "step": 0.25}
    strength = {"min": 0, "max": 1, "step": 0.05}
    return {
        "prompt": Text(first.prompt, description="prompt", **words),
        "negative": Text(first.negative, description="negative prompt", **words),
        "seed": IntSlider(first.seed, min=0, max=LARGEST_SEED, description="seed", **look),
        "steps": IntSlider(first.steps, description="steps", **steps, **look),
        "guidance": FloatSlider(first.guidance, description="guidance", **guidance, **look),
        "strength": FloatSlider(first.strength, description="LoRA strength", **strength, **look),
    }


def _models(playground: Playground) -> "dict[str, ValueWidget]":
    """Return a check box per model, by the name of the model's adapter."""
    from ipywidgets import Checkbox

    look: dict[str, Any] = {
        "indent": False,
        "layout": {"width": "auto", "margin": "2px 18px 2px 4px"},
    }
    return {
        arm.adapter: Checkbox(True, description=arm.label.replace("\n", " "), **look)
        for arm in playground.studio.arms()
    }


def _state(remark: str, is_busy: bool = False) -> str:
    """Return a remark as HTML; a screen reader reads the remark when it changes."""
    weight = 600 if is_busy else 400
    return (
        f'<div class="{NO_FORMULAS}" role="status" aria-live="polite" '
        f'style="font-size:14px;font-weight:{weight}">{html.escape(readable(remark))}</div>'
    )
