"""The playground: every knob of a drawing at hand, and the pictures of all models side by side."""

import html
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from alignsd.base.errors import Problem
from alignsd.kit.views import readable
from alignsd.models.stable_diffusion import Drawing
from alignsd.play import cards
from alignsd.play.newest import Newest
from alignsd.play.studio import ARM_OF_ADAPTER, Studio, Wish, plan_seed
from alignsd.teach.live import bundle, is_live

if TYPE_CHECKING:
    from ipywidgets import VBox, Widget

LARGEST_SEED = 99  # of the slider; a hundred first noises are enough to play with
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
        remark = " ".join([f"Drawn in {seconds:.1f} s.", *self.remarks(settings)])
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

    knobs = _knobs(playground)
    examples = ipywidgets.Dropdown(
        options=[("choose an example ...", ""), *((text, text) for text in playground.prompts)],
        value="",
        description="examples",
        **_look(),
    )
    state = ipywidgets.HTML(_state(shown.remark))
    pictures = ipywidgets.HTML(cards.as_html(shown.cards))

    def settings() -> Settings:
        values = {name: knob.value for name, knob in knobs.items()}
        return Settings(**values | {"adapters": tuple(values["adapters"])})

    def show(shown: Shown) -> None:
        if shown.cards:
            pictures.value = cards.as_html(shown.cards)
        state.value = _state(shown.remark)

    newest = Newest(playground.show, show)

    def moved(_: object) -> None:
        state.value = _state("drawing ...", is_busy=True)
        newest.ask(settings())

    def chosen(change: dict[str, Any]) -> None:
        if change["new"]:
            knobs["prompt"].value = change["new"]

    for knob in knobs.values():
        knob.observe(moved, names="value")
    examples.observe(chosen, names="value")
    left = ipywidgets.VBox([examples, *knobs.values()], layout={"width": "410px"})
    right = ipywidgets.VBox([state, pictures], layout={"flex": "1 1 420px"})
    both = ipywidgets.HBox(
        [left, right], layout={"flex_flow": "row wrap", "align_items": "flex-start"}
    )
    box = ipywidgets.VBox([both])
    box.add_class("alignsd-playground")
    return box


def _look(width: str = "400px") -> dict[str, Any]:
    return {"style": {"description_width": "115px"}, "layout": {"width": width}}


def _knobs(playground: Playground) -> "dict[str, Widget]":
    """Return a widget per field of ``Settings``, which stand at the first settings."""
    import ipywidgets

    first = playground.first
    slider: Callable[..., Widget] = ipywidgets.FloatSlider
    most_guidance = max(6.0, 2 * first.guidance)
    models = [(arm.label.replace("\n", " "), arm.adapter) for arm in playground.studio.arms()]
    return {
        "prompt": ipywidgets.Text(
            first.prompt, description="prompt", continuous_update=False, **_look()
        ),
        "negative": ipywidgets.Text(
            first.negative, description="negative prompt", continuous_update=False, **_look()
        ),
        "seed": ipywidgets.IntSlider(
            first.seed, min=0, max=LARGEST_SEED, description="seed", **_look()
        ),
        "steps": ipywidgets.IntSlider(
            first.steps, min=1, max=max(20, first.steps), description="steps", **_look()
        ),
        "guidance": slider(
            first.guidance, min=1, max=most_guidance, step=0.25, description="guidance", **_look()
        ),
        "strength": slider(
            first.strength, min=0, max=1, step=0.05, description="LoRA strength", **_look()
        ),
        "adapters": ipywidgets.SelectMultiple(
            options=models,
            value=first.adapters,
            rows=len(models),
            description="models",
            **_look(),
        ),
    }


def _state(remark: str, is_busy: bool = False) -> str:
    """Return a remark as HTML; a screen reader reads the remark when it changes."""
    weight = 600 if is_busy else 400
    return (
        '<div class="tex2jax_ignore mathjax_ignore" role="status" aria-live="polite" '
        f'style="font-size:14px;font-weight:{weight}">{html.escape(readable(remark))}</div>'
    )
