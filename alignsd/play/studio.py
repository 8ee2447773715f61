"""Draw, score and judge a picture at once: the models of all notebooks, loaded together."""

import re
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from alignsd.base.errors import Problem
from alignsd.base.judge import Judge
from alignsd.compare.arms import ADAPTED, CONTROL, ORIGINAL, Arm
from alignsd.compare.image_metrics import ScoreModels
from alignsd.models.lora.files import load_lora
from alignsd.models.stable_diffusion import Drawing, Job, generate, image_seed, load_pipeline

# The arm that each adapter makes alone, with an empty negative prompt.
ARM_OF_ADAPTER = {arm.adapter: arm for arm in (ORIGINAL, CONTROL, ADAPTED)}
BASE = "__base__"  # peft's name for a row without an adapter
WHOLE = "none"  # the flaw of a picture without a flaw
# A tokenizer with fewer tokens knows a list of words; a larger one can build any word from pieces.
FEW_TOKENS = 2_000
LONGEST_WORDS = 40  # characters per token; no need to read a prompt of megabytes


def plan_seed(seed: int, prompt: int = 0) -> int:
    """Return the seed of a prompt's first image in a comparison's plan, see ``generation.plan``.

    With the same prompt, the studio draws the very picture of the comparison.

    Args:
        seed: the seed of the run.
        prompt: number of the prompt, from 0 on.
    """
    return image_seed(seed, f"p{prompt:05d}", 0)


@dataclass(frozen=True)
class Wish:
    """One picture to draw.

    Attributes:
        prompt: what the model is asked to draw.
        seed: the seed of the picture's first noise.
        adapter: name of a LoRA of the studio; empty for the original model.
        negative: the negative prompt, what the model is asked to avoid; empty for nothing.
        strength: factor of the LoRA: 0 is the original model, 1 the adapted model.
        asked: what a person wants to see; empty if that is the prompt. Scores and the judge take
            this text, as nobody asks for the identifier.
    """

    prompt: str
    seed: int
    adapter: str = ""
    negative: str = ""
    strength: float = 1.0
    asked: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise Problem(
                "The strength of a LoRA is out of its range.",
                expected="from 0, the original model, to 1, the adapted model",
                found=repr(self.strength),
                cause="a slip in the value",
                fix="choose a strength such as 0.5",
            )

    @property
    def wanted(self) -> str:
        """Return what a person wants to see."""
        return self.asked or self.prompt


@dataclass(frozen=True)
class Picture:
    """A picture with all that the kit can say about the picture.

    Attributes:
        wish: what was drawn.
        pixels: ``(height, width, 3)`` uint8.
        hps: 100 x cosine of the fine-tuned CLIP.
        clip_score: cosine of the CLIP before fine-tuning.
        aesthetic: 1 to 10.
        flaw: the flaw that the judge sees, ``"none"`` for no flaw; None without a judge.
        match: whether the judge sees all that was asked for; None if the judge cannot tell.
    """

    wish: Wish
    pixels: np.ndarray
    hps: float
    clip_score: float
    aesthetic: float
    flaw: str | None = None
    match: bool | None = None

    @property
    def is_flawed(self) -> bool:
        """Return whether the judge sees a flaw."""
        return self.flaw not in (None, WHOLE)

    @property
    def scores(self) -> str:
        """Return HPS and CLIP score as text."""
        return f"HPS {self.hps:.1f} · CLIP {self.clip_score:.3f}"

    @property
    def verdict(self) -> tuple[str, ...]:
        """Return the judge's verdict in words: on the body, then on the prompt."""
        if self.flaw is None:
            return ()
        body = "drawn right" if self.flaw == WHOLE else self.flaw
        if self.match is None:
            return (body, "prompt unknown to the judge")
        return (body, "shows the prompt" if self.match else "does not show the prompt")


@dataclass(frozen=True)
class UnetCall:
    """What the UNet was given and what the UNet answered at one step, for a single picture.

    Attributes:
        time: the time step, about 1000 (noise alone) to 0.
        latent: the noised latent picture, ``(channels, height, width)``.
        predictions: of the noise, ``(n, channels, height, width)``. With guidance n is 2: first
            with the negative prompt, then with the prompt. Without guidance n is 1.
    """

    time: int
    latent: Tensor
    predictions: Tensor


class Studio:
    """Stable Diffusion with its adapters, and the models that score and judge.

    Args:
        model: the Stable Diffusion model, see ``stable_diffusion.load_pipeline``.
        adapters: the file or folder of each LoRA by name; None for ``""``, the original model.
        scorers: HPS, CLIP and the aesthetic predictor.
        judge: tells flaws and matches; None if there is no judge.
        device: ``"auto"`` or a torch device.

    Raises:
        Problem: if a model or an adapter cannot be loaded.
    """

    def __init__(
        self,
        model: str,
        adapters: Mapping[str, Path | None],
        scorers: ScoreModels,
        judge: Judge | None = None,
        device: str = "auto",
    ) -> None:
        self.model = model
        self.scorers = scorers
        self.judge = judge
        self.pipeline = load_pipeline(model, device)
        self.adapters = tuple(adapters)
        self._loras = [name for name, path in adapters.items() if path is not None]
        self._lock = threading.Lock()  # the live panel draws in a thread
        with warnings.catch_warnings():
            # peft warns of a second adapter on one UNet. Here several adapters are meant.
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")
            for name, path in adapters.items():
                if path is not None:
                    load_lora(self.pipeline, path, name)

    def arms(self) -> list[Arm]:
        """Return an arm for each adapter, the original model first, with label and colour."""
        names = sorted(self.adapters, key=list(ARM_OF_ADAPTER).index)
        return [ARM_OF_ADAPTER[name] for name in names]

    def draw(self, wishes: Sequence[Wish], drawing: Drawing) -> list[Picture]:
        """Draw, score and judge pictures, in the order of the wishes.

        All wishes share a batch, unless one adapter is wished for at several strengths. What shares
        a batch changes a picture only by rounding.

        Args:
            wishes: what to draw.
            drawing: steps and guidance.

        Raises:
            Problem: if a wish names an adapter that the studio does not have.
        """
        drawn: dict[int, np.ndarray] = {}
        with self._lock:
            for numbers in _batches(wishes, drawing.batch):
                together = [wishes[number] for number in numbers]
                jobs = [self._job(number, wishes[number]) for number in numbers]
                with self._wearing(together):
                    images = list(generate(self.pipeline, jobs, drawing, silent=True))
                drawn.update((int(job.id), image) for job, image in images)
        pixels = [drawn[number] for number in range(len(wishes))]
        return self.look_at(wishes, pixels)

    def look_at(self, wishes: Sequence[Wish], pixels: Sequence[np.ndarray]) -> list[Picture]:
        """Score and judge pictures ``(height, width, 3)`` uint8, one per wish."""
        if not pixels:
            return []
        wanted = [wish.wanted for wish in wishes]
        scores = self.scorers.of(pixels, wanted)
        flaws: Sequence[str | None] = [None] * len(pixels)
        matches: Sequence[bool | None] = [None] * len(pixels)
        if self.judge is not None:
            flaws = self.judge.judge(pixels).flaw_names
            matches = [
                self._match(picture, text) for picture, text in zip(pixels, wanted, strict=True)
            ]
        return [
            Picture(
                wish=wish,
                pixels=pixels[number],
                hps=float(scores["hps"][number]),
                clip_score=float(scores["clip_score"][number]),
                aesthetic=float(scores["aesthetic"][number]),
                flaw=flaws[number],
                match=matches[number],
            )
            for number, wish in enumerate(wishes)
        ]

    def watch(self, wish: Wish, drawing: Drawing) -> list[UnetCall]:
        """Draw one picture and return what the UNet was asked and answered at each step."""
        with self._lock:
            with self._wearing([wish]), _watching(self.pipeline.unet) as calls:
                list(generate(self.pipeline, [self._job(0, wish)], drawing, silent=True))
        return calls

    @torch.no_grad()
    def predict(self, wish: Wish, latents: Tensor, times: Tensor, texts: Sequence[str]) -> Tensor:
        """Ask the UNet for the noise in latents, with other texts than those of the drawing.

        Args:
            wish: whose adapter and strength are used.
            latents: ``(n, channels, height, width)``, as in ``UnetCall``.
            times: the time step of each latent, ``(n,)``.
            texts: prompts.

        Returns:
            ``(texts, n, channels, height, width)``.
        """
        pipeline = self.pipeline
        with self._lock:
            encoded, _ = pipeline.encode_prompt(
                [self.fitting(text) for text in texts],
                pipeline.device,
                1,
                do_classifier_free_guidance=False,
            )
            with self._wearing([wish]):
                answers = pipeline.unet(
                    latents.repeat(len(texts), 1, 1, 1),
                    times.repeat(len(texts)),
                    encoder_hidden_states=encoded.repeat_interleave(len(latents), dim=0),
                    return_dict=False,
                )[0]
        return answers.unflatten(0, (len(texts), len(latents)))

    @torch.no_grad()
    def decode(self, latents: Tensor) -> np.ndarray:
        """Return latents ``(n, channels, h, w)`` as pictures ``(n, height, width, 3)`` uint8."""
        vae = self.pipeline.vae
        with self._lock:
            decoded = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
        pixels = self.pipeline.image_processor.postprocess(decoded, output_type="np")
        return (pixels * 255).round().astype(np.uint8)

    def unknown_words(self, text: str) -> list[str]:
        """Return the words of a text that the model's tokenizer does not know as words.

        The miniature knows about a hundred words. A tokenizer with many tokens builds every word
        from pieces, and the list is empty.
        """
        if len(self.pipeline.tokenizer) >= FEW_TOKENS:
            return []
        words = dict.fromkeys(re.findall(r"[^\W\d_]+", text.lower()))
        return [word for word in words if self._tokens(word) > 1]

    def fitting(self, text: str) -> str:
        """Return the first words of a text, as many as fit into the model's text encoder."""
        most = (
            self.pipeline.tokenizer.model_max_length - 2
        )  # a token marks the start, another the end
        words = re.findall(r"\S+\s*", text[: LONGEST_WORDS * most])
        count, kept = 0, 0
        for word in words:
            count += self._tokens(word)
            if count > most:
                break
            kept += 1
        return text if kept == len(words) else "".join(words[:kept]).rstrip()

    def _tokens(self, text: str) -> int:
        """Return how many tokens a text has, without marks and without a warning of its length."""
        tokens = self.pipeline.tokenizer(text, add_special_tokens=False, verbose=False)
        return len(tokens["input_ids"])

    def _job(self, number: int, wish: Wish) -> Job:
        prompt, negative = self.fitting(wish.prompt), self.fitting(wish.negative)
        return Job(str(number), prompt, wish.seed, negative)

    @contextmanager
    def _wearing(self, wishes: Sequence[Wish]) -> Iterator[None]:
        """Give each row of a batch the adapter of its wish.

        Args:
            wishes: of the rows. The UNet gets the rows twice, with the negative prompts and with
                the prompts. No adapter stands there at two strengths.
        """
        strengths = {wish.adapter: wish.strength for wish in wishes if wish.adapter}
        for adapter in strengths:
            self._refuse_unknown(adapter)
        unet = self.pipeline.unet
        if not strengths:
            if self._loras:
                unet.disable_adapters()
            yield
            return
        unet.enable_adapters()
        unet.set_adapters(list(strengths), list(strengths.values()))
        names = [wish.adapter or BASE for wish in wishes]
        # One adapter for all rows is peft's ordinary way, which needs no names.
        hooks = _naming_rows(unet, names) if len(set(names)) > 1 else []
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _refuse_unknown(self, adapter: str) -> None:
        if adapter not in self._loras:
            raise Problem(
                f"The studio has no adapter {adapter!r}.",
                expected="one of " + ", ".join(map(repr, self.adapters)),
                found=repr(adapter),
                cause="a misspelt name, or an adapter that was not trained",
                fix="name the adapter in Studio(adapters=...)",
            )

    def _match(self, pixels: np.ndarray, text: str) -> bool | None:
        """Return whether the judge sees all that a text asks for; None if it is no such text."""
        assert self.judge is not None
        try:
            return bool(self.judge.judge([pixels]).matches([text])[0])
        except Problem:  # a prompt of the reader's own: the judge knows the miniature's world alone
            return None


def _batches(wishes: Sequence[Wish], size: int) -> list[list[int]]:
    """Return the numbers of the wishes that share a batch.

    Args:
        wishes: what to draw.
        size: most pictures of a batch.
    """
    batches: list[list[int]] = []
    strengths: list[dict[str, float]] = []  # of each batch: adapter -> strength
    for number, wish in enumerate(wishes):
        fitting = (
            index
            for index, worn in enumerate(strengths)
            if worn.get(wish.adapter, wish.strength) == wish.strength and len(batches[index]) < size
        )
        index = next(fitting, len(batches))
        if index == len(batches):
            batches.append([])
            strengths.append({})
        batches[index].append(number)
        if wish.adapter:
            strengths[index][wish.adapter] = wish.strength
    return batches


def _naming_rows(unet: torch.nn.Module, names: list[str]) -> list[RemovableHandle]:
    """Tell each LoRA layer of a UNet, whenever the layer is called, which row wears what."""

    def name_rows(
        module: torch.nn.Module, inputs: tuple[Tensor], options: dict[str, Any]
    ) -> tuple[tuple[Tensor], dict[str, Any]]:
        times = len(inputs[0]) // len(names)
        return inputs, options | {"adapter_names": names * times}

    layers = [layer for layer in unet.modules() if isinstance(layer, LoraLayer)]
    return [layer.register_forward_pre_hook(name_rows, with_kwargs=True) for layer in layers]


@contextmanager
def _watching(unet: torch.nn.Module) -> Iterator[list[UnetCall]]:
    """Give a list to which each call of a UNet is appended, while the UNet draws one picture."""
    calls: list[UnetCall] = []

    def note(module: torch.nn.Module, inputs: tuple, answer: tuple) -> None:
        latents, time = inputs[0], inputs[1]
        calls.append(UnetCall(int(time), latents[0].clone(), answer[0].clone()))

    hook = unet.register_forward_hook(note)
    try:
        yield calls
    finally:
        hook.remove()
