"""The messages of the simulated server, in the form that DiscordChatExporter gives real channels.

The channel holds what real channels are full of: chatter, abandoned prompts, uploads, deleted and
damaged pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from alignsd import paper
from alignsd.base.atomic import replacing
from alignsd.base.errors import Problem, at_least, check_seed
from alignsd.collect.discord import SPOILER
from alignsd.miniature import world

Message = dict[str, Any]
Author = dict[str, Any]

SIZES = tuple(paper.TEST_CHOICES_BY_IMAGES)  # pictures per choice, as in the paper's test set
SHARES = tuple(count / paper.TEST_CHOICES for count in paper.TEST_CHOICES_BY_IMAGES.values())
CHOICES_PER_USER = round(paper.CHOICES / paper.USERS, 1)
# Share of prompts taken over from an earlier request.
REPEATED = round(1 - paper.TEST_PROMPTS / paper.TEST_CHOICES, 2)
START = datetime(2022, 8, 20, 12, tzinfo=UTC)
EPOCH = datetime(2015, 1, 1, tzinfo=UTC)  # Discord's ids count milliseconds from here
PACE = 45.0  # seconds between requests; a conversation takes longer, so conversations interleave
ANSWER = 20  # seconds from the prompt to the bot's pictures
GUILD = "1000000000000000001"
CHANNEL = "1000000000000000002"
BOT = "1000000000000000003"
FIRST_USER = 2_000_000_000_000_000_000
NOISE_FROM = 900_000  # number of the first conversation that yields no choice
NOISE = {
    "chatter": 0.40,
    "abandoned": 0.28,
    "upload": 0.10,
    "deleted": 0.08,
    "hidden": 0.05,
    "undecided": 0.04,
    "damaged": 0.03,
    "malformed": 0.02,
}
TALK = (
    "nice one!",
    "how do I get a wider picture?",
    "look at the arms",
    "good morning everyone",
    "is the bot down?",
)


@dataclass(frozen=True)
class Server:
    """The settings of a simulated server.

    Attributes:
        pipeline: the bot's Stable Diffusion.
        judge: the judge on whose verdicts the simulated people act.
        requests: completed choices.
        images: most pictures per answer, 2 to 4; fewer pictures are as frequent as in real data.
        steps: denoising steps per picture.
        guidance: scale of classifier-free guidance.
        seed: of everything.
        device: where to draw.
        noise: conversations that yield no choice, per completed choice.

    Raises:
        Problem: if a number is out of range.
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


@dataclass(frozen=True)
class Request:
    """A simulated user's prompt, to be answered with ``count`` pictures."""

    number: int
    user: int
    prompt: str
    count: int

    @property
    def files(self) -> list[str]:
        """Return the names of the bot's pictures, in the bot's order."""
        return [f"{self.number:06d}_{index}.png" for index in range(self.count)]

    @property
    def answer_id(self) -> str:
        """Return the id of the message that answers a request of a completed choice."""
        return _message_id(self.number * PACE + ANSWER, self.number)


def simulate_requests(n: int, images: int, seed: int) -> list[Request]:
    """Return ``n`` requests.

    More requests begin with the same prompts and counts; only who asks depends on ``n``.

    Args:
        n: number of requests.
        images: most pictures per request; most requests have so many.
        seed: of everything.
    """
    sizes = [size for size in SIZES if size <= images]
    # The largest shares belong to the largest sizes, so that the largest size stays the usual size.
    largest_shares = SHARES[-len(sizes) :]
    chances = np.array(largest_shares) / sum(largest_shares)
    users = max(2, round(n / CHOICES_PER_USER))
    asked: list[Request] = []
    for number in range(n):
        # The draws keep their order: another order would give other requests for the same seed.
        rng = np.random.default_rng((seed, number))
        prompt = world.caption(world.random_scene(rng), rng)
        if asked and rng.random() < REPEATED:
            prompt = asked[rng.integers(len(asked))].prompt
        count = int(rng.choice(sizes, p=chances))
        user = int(rng.integers(users))
        asked.append(Request(number, user, prompt, count))
    return asked


def conversation(request: Request, chosen: int, start: float, media: Path) -> list[Message]:
    """Return the messages of a completed choice: prompt, answer, pick and refinement.

    Half of the users reply to the answer. The other users only send the prompt again.

    Args:
        request: what the user asks for.
        chosen: index of the picture that the user picks.
        start: seconds from the start of the channel to the prompt.
        media: folder of the pictures.
    """
    talk = _Conversation(request.number, start, media)
    user = _user(request.user)
    bot = _bot()
    words = request.prompt
    if request.user % 3 == 0:
        words = f'!dream "{words.capitalize()}"'
    hesitation = 7 * (request.number % 20)
    refined_files = [f"{request.number:06d}_refined.png"]
    prompt = talk.say(0, user, words)
    answer = talk.say(ANSWER, bot, "", request.files, reply=prompt["id"])
    pick = talk.say(
        ANSWER + 30 + hesitation,
        user,
        words,
        request.files[chosen : chosen + 1],
        reply=answer["id"] if request.user % 2 else "",
    )
    refined = talk.say(ANSWER + 60 + hesitation, bot, "", refined_files, reply=pick["id"])
    return [prompt, answer, pick, refined]


def noise(n: int, requests: int, seed: int, media: Path) -> list[Message]:
    """Return the messages of ``n`` conversations that yield no choice.

    Args:
        n: number of conversations.
        requests: completed choices, during which the conversations take place.
        seed: of everything.
        media: folder of the pictures; damaged pictures are written there.
    """
    kinds = list(NOISE)
    chances = list(NOISE.values())
    duration = max(requests, 1) * PACE
    messages = []
    for request in simulate_requests(n, SIZES[-1], NOISE_FROM + seed):
        rng = np.random.default_rng((seed, NOISE_FROM, request.number))
        kind = str(rng.choice(kinds, p=chances))
        start = rng.uniform(0, duration)
        request = replace(request, number=NOISE_FROM + request.number)
        messages += _spoilt(kind, request, start, rng, media)
    return messages


def _spoilt(
    kind: str, request: Request, start: float, rng: np.random.Generator, media: Path
) -> list[Message]:
    """Return one conversation of a kind that yields no choice.

    The pictures were never kept, except for damaged pictures.
    """
    if kind == "damaged":
        for name in request.files:
            with replacing(media / name) as unfinished:
                broken_off = b"\x89PNG\r\n\x1a\n" + bytes(40)  # a download that broke off
                unfinished.write_bytes(broken_off)
    talk = conversation(request, int(rng.integers(request.count)), start, media)
    prompt, answer, pick, refined = talk
    if kind == "chatter":
        said = TALK[rng.integers(len(TALK))]
        return [prompt | {"content": said}]
    if kind == "abandoned":
        return [prompt, answer]
    if kind == "upload":
        next_id = int(prompt["id"]) + 1
        photo = _attachment("my_photo.png", next_id, media)
        return [prompt | {"attachments": [photo]}, answer]
    if kind == "hidden":
        return [_hidden(message) for message in talk]
    if kind == "undecided":
        picked = pick["attachments"][0]["fileName"]
        others = [file for file in answer["attachments"] if file["fileName"] != picked]
        later = int(refined["id"]) + (1 << 32)
        second_pick = pick | {"id": str(later), "attachments": others[:1]}
        return [*talk, second_pick]
    if kind == "malformed":
        return [prompt | {"author": None}]
    return talk


def _hidden(message: Message) -> Message:
    """Return a message whose pictures are behind a spoiler."""
    files = [file | {"fileName": SPOILER + file["fileName"]} for file in message["attachments"]]
    return message | {"attachments": files}


def export(messages: list[Message]) -> dict[str, Any]:
    """Return the content of ``channel.json``."""
    return {
        "guild": {"id": GUILD, "name": "Simulated Foundation", "iconUrl": ""},
        "channel": {
            "id": CHANNEL,
            "type": "GuildTextChat",
            "categoryId": None,
            "category": None,
            "name": "dreambot-1",
            "topic": "simulated",
        },
        "dateRange": {"after": None, "before": None},
        "exportedAt": (START + timedelta(days=365)).isoformat(),
        "messages": messages,
        "messageCount": len(messages),
    }


@dataclass(frozen=True)
class _Conversation:
    """What the messages of one conversation share."""

    number: int
    start: float
    media: Path

    def say(
        self, after: float, author: Author, text: str, files: Sequence[str] = (), reply: str = ""
    ) -> Message:
        """Return a message, with the fields and names of DiscordChatExporter.

        Args:
            after: seconds from the start of the conversation.
            author: who writes.
            text: what is written.
            files: names of the pictures.
            reply: id of the message that is replied to, if any.
        """
        seconds = self.start + after
        message_id = _message_id(seconds, self.number)
        sent = START + timedelta(seconds=seconds)
        attachments = [
            _attachment(name, int(message_id) + position, self.media)
            for position, name in enumerate(files, start=1)
        ]
        message: Message = {
            "id": message_id,
            "type": "Reply" if reply else "Default",
            "timestamp": sent.isoformat(timespec="milliseconds"),
            "timestampEdited": None,
            "callEndedTimestamp": None,
            "isPinned": False,
            "content": text,
            "author": author,
            "attachments": attachments,
            "embeds": [],
            "stickers": [],
            "reactions": [],
            "mentions": [],
        }
        if reply:
            message["reference"] = {"messageId": reply, "channelId": CHANNEL, "guildId": GUILD}
        return message


def _attachment(name: str, number: int, media: Path) -> dict[str, Any]:
    path = media / name
    return {
        "id": str(number),
        "url": f"{media.name}/{name}",
        "fileName": name,
        "fileSizeBytes": path.stat().st_size if path.exists() else 0,
    }


def _user(number: int) -> Author:
    return _author(str(FIRST_USER + number), f"simulated_user_{number}", f"user {number}", False)


def _bot() -> Author:
    return _author(BOT, "dreambot", "dreambot", True)


def _author(author_id: str, name: str, nickname: str, is_bot: bool) -> Author:
    return {
        "id": author_id,
        "name": name,
        "discriminator": "0000",
        "nickname": nickname,
        "color": None,
        "isBot": is_bot,
        "roles": [],
        "avatarUrl": "",
    }


def _message_id(seconds: float, number: int) -> str:
    """Return Discord's id of a message.

    42 bits are the time; the other bits tell messages of one millisecond apart.
    """
    sent = START + timedelta(seconds=seconds)
    since_epoch = (sent - EPOCH).total_seconds()
    milliseconds = round(since_epoch * 1000)
    apart = number % (1 << 22)
    return str((milliseconds << 22) + apart)
