"""The simulated Discord server: its users ask, its bot draws, they choose, and the channel is exported.

The export has the form that DiscordChatExporter gives real channels, with what real channels are full of: chatter, abandoned
prompts, uploads, deleted and damaged pictures. Only pictures of completed choices are drawn; the others are no longer kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alignsd import paper
from alignsd.base.atomic import replacing, write_json
from alignsd.base.errors import Problem, at_least, check_seed
from alignsd.base.images import read_image, save_png
from alignsd.base.progress import track
from alignsd.collect.discord import SPOILER
from alignsd.kit.tables import write_table
from alignsd.miniature import people, world
from alignsd.miniature.judge import load_judge
from alignsd.miniature.renderer import SIZE
from alignsd.models.registry import resolve
from alignsd.models.stable_diffusion import Drawing, Job, generate, image_seed, load_pipeline

SIZES = tuple(paper.TEST_CHOICES_BY_IMAGES)  # pictures per choice, as in the paper's test set
SHARES = tuple(count / paper.TEST_CHOICES for count in paper.TEST_CHOICES_BY_IMAGES.values())
CHOICES_PER_USER = round(paper.CHOICES / paper.USERS, 1)
# Share of prompts taken over from an earlier request.
REPEATED = round(1 - paper.TEST_PROMPTS / paper.TEST_CHOICES, 2)
START = datetime(2022, 8, 20, 12, tzinfo=UTC)
EPOCH = datetime(2015, 1, 1, tzinfo=UTC)  # Discord's ids count milliseconds from here
JUDGED = 100  # requests whose pictures the judge sees at a time
PACE = 45.0  # seconds from one request to the next; a conversation takes longer, so they interleave
GUILD, CHANNEL, BOT = "1000000000000000001", "1000000000000000002", "1000000000000000003"
NOISE_FROM = 900_000  # number of the first conversation that yields no choice
NOISE = {"chatter": 0.40, "abandoned": 0.28, "upload": 0.10, "deleted": 0.08, "hidden": 0.05, "undecided": 0.04,
         "damaged": 0.03, "malformed": 0.02}
TALK = ("nice one!", "how do I get a wider picture?", "look at the arms", "good morning everyone", "is the bot down?")


@dataclass(frozen=True)
class Request:
    """A simulated user's prompt, to be answered with ``count`` pictures."""

    number: int
    user: int
    prompt: str
    count: int

    @property
    def files(self) -> list[str]:
        """Names of the bot's pictures, in the bot's order."""
        return [f"{self.number:06d}_{index}.png" for index in range(self.count)]


@dataclass(frozen=True)
class Server:
    """The settings of a simulated server.

    Attributes:
        pipeline: the bot's Stable Diffusion.
        judge: the judge on whose verdicts the simulated people act.
        requests: completed choices.
        images: most pictures per answer, 2 to 4; fewer come about as often as in the real data.
        steps: denoising steps per picture.
        guidance: scale of classifier-free guidance.
        seed: of everything.
        device: where to draw.
        noise: conversations that yield no choice, per completed choice.

    Raises:
        Problem: if a number is out of its range.
    """

    pipeline: str
    judge: str
    requests: int
    images: int
    steps: int
    guidance: float
    seed: int
    device: str = "auto"
    noise: float = 0.3

    def __post_init__(self) -> None:
        at_least(1, requests=self.requests, steps=self.steps)
        at_least(0, noise=self.noise, guidance=self.guidance)
        check_seed(self.seed)
        if self.images not in SIZES:
            raise Problem(
                "images is out of its range.",
                expected="2, 3 or 4",
                found=repr(self.images),
                cause="a choice of HPD v1 has two to four images",
                fix="--set images=4",
            )


def write_export(folder: Path, server: Server) -> Path:
    """Let the simulated server write its channel, and return the path of ``channel.json``.

    The folder gets ``channel.json``, ``media/*.png``, ``truth.parquet`` and ``user.key``. Pictures
    that a cut-off call has left are not drawn again. Each picture depends on the seed and the
    picture's number alone, so the export is the same, and an export with more requests begins with
    the same pictures. The folder must not hold an export made with other settings.

    Args:
        folder: where to write.
        server: the settings.
    """
    media = folder / "media"
    seed = server.seed
    asked = simulate_requests(server.requests, server.images, seed)
    draw_pictures(
        asked, media, server.pipeline, server.steps, server.guidance, seed, server.device
    )
    chosen, truth = let_people_choose(asked, media, server.judge, seed)
    messages = []
    for request, index in zip(asked, chosen, strict=True):
        messages += _conversation(request, index, request.number * PACE, media)
    messages += _noise(round(server.noise * server.requests), server.requests, seed, media)
    messages.sort(key=lambda message: int(message["id"]))
    with replacing(folder / "user.key") as part:
        part.write_text(f"simulated users need no secret, seed {seed}\n")
    write_table(folder / "truth.parquet", truth)
    write_json(folder / "channel.json", _export(messages))
    return folder / "channel.json"


def simulate_requests(n: int, images: int, seed: int) -> list[Request]:
    """Returns ``n`` requests. More of them begin with the same prompts and counts; only who asks depends on ``n``."""
    sizes = [size for size in SIZES if size <= images]
    shares = np.array(SHARES[-len(sizes):]) / sum(SHARES[-len(sizes):])  # the largest size stays the usual one
    asked: list[Request] = []
    for number in range(n):
        rng = np.random.default_rng((seed, number))
        prompt = world.caption(world.random_scene(rng), rng)
        if asked and rng.random() < REPEATED:
            prompt = asked[rng.integers(len(asked))].prompt
        count = int(rng.choice(sizes, p=shares))
        asked.append(Request(number, int(rng.integers(max(2, round(n / CHOICES_PER_USER)))), prompt, count))
    return asked


def draw_pictures(asked: Sequence[Request], media: Path, pipeline_name: str, steps: int, guidance: float, seed: int,
                  device: str) -> None:
    """Draws the pictures of the requests that ``media`` does not hold yet; the model is loaded only if one is missing."""
    jobs = [Job(name, request.prompt, image_seed(seed, "server", name)) for request in asked for name in request.files]
    done = {job.id for job in jobs if (media / job.id).exists()}
    if len(done) < len(jobs):
        pipeline = load_pipeline(pipeline_name, device)
        if (side := pipeline.unet.config.sample_size * pipeline.vae_scale_factor) != SIZE:
            raise Problem("The simulated people cannot judge this model's pictures.", expected=f"a model that draws {SIZE} pixels",
                          found=f"{side} pixels", cause="another model than the miniature's",
                          fix="leave 01's stable_diffusion as it is, or take choices of your own (docs/data.md)")
        for job, picture in generate(pipeline, jobs, Drawing(steps, guidance), done):
            save_png(media / job.id, picture)


def let_people_choose(asked: Sequence[Request], media: Path, judge_name: str, seed: int) -> tuple[list[int], pd.DataFrame]:
    """Returns each request's chosen index, and the truth: ``message_id`` of the answer, ``file_name``, ``p``."""
    judge, chosen, rows = load_judge(Path(resolve(judge_name))), [], []
    for start in track(range(0, len(asked), JUDGED), what="people choose", unit="batch"):
        part = asked[start:start + JUDGED]
        pictures = [read_image(media / name) for request in part for name in request.files]
        worth = people.utilities(judge, pictures, [request.prompt for request in part for _ in request.files])
        for request, liked in zip(part, np.split(worth, np.cumsum([request.count for request in part])[:-1]), strict=True):
            chances = people.luce(liked)
            chosen.append(people.choose(chances, np.random.default_rng((seed, request.number, 1))))
            answer = _id(request.number * PACE + 20, request.number)
            rows += [(answer, name, float(p)) for name, p in zip(request.files, chances, strict=True)]
    return chosen, pd.DataFrame(rows, columns=["message_id", "file_name", "p"])


def _conversation(request: Request, chosen: int, start: float, media: Path) -> list[dict]:
    """Prompt, answer, pick and refinement. Half of the users reply to the answer, the others only send the prompt again."""
    def say(after: float, author: dict, text: str, files: Sequence[str] = (), reply: str = "") -> dict:
        return _message(_id(start + after, request.number), start + after, author, text, files, reply, media)

    words = f'!dream "{request.prompt.capitalize()}"' if request.user % 3 == 0 else request.prompt
    prompt = say(0, _user(request.user), words)
    answer = say(20, _bot(), "", request.files, prompt["id"])
    pick = say(20 + 30 + 7 * (request.number % 20), _user(request.user), words, request.files[chosen:chosen + 1],
               answer["id"] if request.user % 2 else "")
    refined = say(20 + 60 + 7 * (request.number % 20), _bot(), "", [f"{request.number:06d}_refined.png"], pick["id"])
    return [prompt, answer, pick, refined]


def _noise(n: int, requests: int, seed: int, media: Path) -> list[dict]:
    """Messages of ``n`` conversations that yield no choice."""
    messages = []
    for request in simulate_requests(n, SIZES[-1], NOISE_FROM + seed):
        rng = np.random.default_rng((seed, NOISE_FROM, request.number))
        kind = str(rng.choice(list(NOISE), p=list(NOISE.values())))
        request = Request(NOISE_FROM + request.number, request.user, request.prompt, request.count)
        messages += _spoilt(kind, request, rng.uniform(0, max(requests, 1) * PACE), rng, media)
    return messages


def _spoilt(kind: str, request: Request, start: float, rng: np.random.Generator, media: Path) -> list[dict]:
    """One conversation of a kind that yields no choice; its pictures were never kept, but for a damaged one."""
    if kind == "damaged":
        for name in request.files:
            with replacing(media / name) as part:
                part.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))  # a download that broke off
    prompt, answer, pick, refined = talk = _conversation(request, int(rng.integers(request.count)), start, media)
    if kind == "chatter":
        return [prompt | {"content": TALK[rng.integers(len(TALK))]}]
    if kind == "abandoned":
        return [prompt, answer]
    if kind == "upload":
        return [prompt | {"attachments": [_attachment("my_photo.png", int(prompt["id"]) + 1, media)]}, answer]
    if kind == "hidden":
        return [one | {"attachments": [file | {"fileName": SPOILER + file["fileName"]} for file in one["attachments"]]}
                for one in talk]
    if kind == "undecided":
        others = [file for file in answer["attachments"] if file["fileName"] != pick["attachments"][0]["fileName"]]
        return [*talk, pick | {"id": str(int(refined["id"]) + (1 << 32)), "attachments": others[:1]}]
    if kind == "malformed":
        return [prompt | {"author": None}]
    return talk


def _export(messages: list[dict]) -> dict[str, Any]:
    return {"guild": {"id": GUILD, "name": "Simulated Foundation", "iconUrl": ""},
            "channel": {"id": CHANNEL, "type": "GuildTextChat", "categoryId": None, "category": None, "name": "dreambot-1",
                        "topic": "simulated"},
            "dateRange": {"after": None, "before": None}, "exportedAt": (START + timedelta(days=365)).isoformat(),
            "messages": messages, "messageCount": len(messages)}


def _message(message_id: str, seconds: float, author: dict, text: str, files: Sequence[str], reply: str,
             media: Path) -> dict:
    """One message, with the fields and names of DiscordChatExporter."""
    message = {"id": message_id, "type": "Reply" if reply else "Default",
               "timestamp": (START + timedelta(seconds=seconds)).isoformat(timespec="milliseconds"), "timestampEdited": None,
               "callEndedTimestamp": None, "isPinned": False, "content": text, "author": author,
               "attachments": [_attachment(name, int(message_id) + i, media) for i, name in enumerate(files, start=1)],
               "embeds": [], "stickers": [], "reactions": [], "mentions": []}
    return message | ({"reference": {"messageId": reply, "channelId": CHANNEL, "guildId": GUILD}} if reply else {})


def _attachment(name: str, number: int, media: Path) -> dict:
    size = (media / name).stat().st_size if (media / name).exists() else 0
    return {"id": str(number), "url": f"{media.name}/{name}", "fileName": name, "fileSizeBytes": size}


def _user(number: int) -> dict:
    return {"id": str(2_000_000_000_000_000_000 + number), "name": f"simulated_user_{number}", "discriminator": "0000",
            "nickname": f"user {number}", "color": None, "isBot": False, "roles": [], "avatarUrl": ""}


def _bot() -> dict:
    return {"id": BOT, "name": "dreambot", "discriminator": "0000", "nickname": "dreambot", "color": None, "isBot": True,
            "roles": [], "avatarUrl": ""}


def _id(seconds: float, number: int) -> str:
    """Discord's id of a message: 42 bits of time, then bits that tell messages of one millisecond apart."""
    return str((round((START + timedelta(seconds=seconds) - EPOCH).total_seconds() * 1000) << 22) + number % (1 << 22))
