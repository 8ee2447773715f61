"""The simulated server: what it writes is what the parser finds, however often it was cut off."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from alignsd import sources
from alignsd.base.errors import Problem
from alignsd.base.images import DAMAGED, MISSING, read_image
from alignsd.collect import channel, choices, hpd
from alignsd.miniature import server
from alignsd.miniature.conversations import NOISE_FROM, simulate_requests

DRAWN = []
BOT = SimpleNamespace(
    unet=SimpleNamespace(config=SimpleNamespace(sample_size=8)), vae_scale_factor=8
)


def draw(pipeline, jobs, drawing, done=()):
    """Stands in for Stable Diffusion: one colour per seed."""
    for job in jobs:
        if job.id in done:
            continue
        DRAWN.append(job.id)
        yield (
            job,
            np.random.default_rng(job.seed)
            .integers(0, 256, (1, 1, 3), dtype=np.uint8)
            .repeat(64, 0)
            .repeat(64, 1),
        )


def worth(judge, pictures, prompts):
    """Stands in for the people: brighter pictures are liked better."""
    return np.stack(pictures).mean(axis=(1, 2, 3)) / 30


@pytest.fixture
def simulated(monkeypatch):
    DRAWN.clear()
    monkeypatch.setattr(server, "load_pipeline", lambda *args: BOT)
    monkeypatch.setattr(server, "load_judge", lambda path: None)
    monkeypatch.setattr(server, "resolve", lambda name: name)
    monkeypatch.setattr(server, "generate", draw)
    monkeypatch.setattr(server.people, "utilities", worth)


def settings(**changes):
    """A server's settings, some of them changed."""
    usual = {"pipeline": "bot", "judge": "judge", "requests": 60, "images": 4, "seed": 0}
    usual |= {"steps": 1, "guidance": 1.0, "device": "cpu"}
    return server.Server(**usual | changes)


def write(folder, **changes):
    return server.write_export(folder, settings(**changes))


def test_the_parser_finds_every_choice_and_no_other(simulated, tmp_path):
    parsed = channel.parse([write(tmp_path, requests=120, noise=1.0)], nsfw_words="nsfw")
    table, origin, unread = hpd.write_pictures(parsed.choices, tmp_path / "hpd")
    asked = {request.files[0]: request for request in simulate_requests(120, 4, 0)}
    assert len(table) == 120
    for row, files in zip(table.to_dict("records"), origin["file_names"], strict=True):
        assert row["prompt"] == asked[files[0]].prompt and files == asked[files[0]].files
    truth = pd.read_parquet(tmp_path / "truth.parquet")
    pictures = origin.explode("file_names").rename(columns={"file_names": "file_name"})
    joined = pictures.merge(truth, on=["message_id", "file_name"])
    assert len(joined) == len(truth) == table["file_path"].map(len).sum()
    assert np.allclose(truth.groupby("message_id")["p"].sum(), 1)
    assert unread[MISSING] > 0 and unread[DAMAGED] > 0
    assert set(parsed.left_out) == {
        choices.CHATTER,
        choices.ABANDONED,
        choices.CONDITIONED,
        choices.NSFW,
        choices.AMBIGUOUS,
        choices.MALFORMED,
    }
    assert (
        parsed.left_out.total() + unread.total() == 120
    )  # each noisy conversation is counted once


def test_a_cut_off_export_is_continued_and_comes_out_the_same(simulated, tmp_path, monkeypatch):
    whole = write(tmp_path / "whole").parent

    def cut_off(pipeline, jobs, drawing, done):
        yield from draw(pipeline, jobs[:7], drawing)
        raise KeyboardInterrupt

    monkeypatch.setattr(server, "generate", cut_off)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "cut")
    assert not (tmp_path / "cut" / "channel.json").exists()
    monkeypatch.setattr(server, "generate", draw)
    DRAWN.clear()
    write(tmp_path / "cut")
    files = [path.relative_to(whole) for path in sorted(whole.rglob("*")) if path.is_file()]
    assert files == [
        path.relative_to(tmp_path / "cut")
        for path in sorted((tmp_path / "cut").rglob("*"))
        if path.is_file()
    ]
    assert all(
        (whole / file).read_bytes() == (tmp_path / "cut" / file).read_bytes() for file in files
    )
    kept = [file for file in files if file.suffix == ".png" and int(file.name[:6]) < NOISE_FROM]
    assert len(DRAWN) == len(kept) - 7


def test_a_finished_export_draws_nothing(simulated, tmp_path):
    before = write(tmp_path).read_bytes()
    DRAWN.clear()
    assert write(tmp_path).read_bytes() == before and DRAWN == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("images", 1),
        ("images", 5),
        ("requests", 0),
        ("noise", -0.1),
        ("steps", 0),
        ("guidance", -1.0),
        ("seed", -1),
    ],
)
def test_settings_out_of_range(name, value):
    with pytest.raises(Problem, match=name):
        settings(**{name: value})


def test_an_export_named_miniature_is_simulated_and_a_path_is_read(simulated, tmp_path):
    [written] = sources.export("miniature", tmp_path / "new", settings())
    assert written == tmp_path / "new" / "channel.json" and written.exists()
    assert sources.export(str(written), tmp_path / "unused", settings()) == [written]
    assert not (tmp_path / "unused").exists()


def test_the_seed_changes_pictures_and_prompts(simulated, tmp_path):
    one, two = (
        write(tmp_path / str(seed), requests=5, seed=seed).parent / "media" / "000000_0.png"
        for seed in (0, 1)
    )
    assert not np.array_equal(read_image(one), read_image(two))
    assert [r.prompt for r in simulate_requests(5, 4, 0)] != [
        r.prompt for r in simulate_requests(5, 4, 1)
    ]


def test_more_requests_begin_with_the_same(simulated):
    few, many = simulate_requests(50, 4, 3), simulate_requests(500, 4, 3)
    assert [(r.prompt, r.count) for r in few] == [(r.prompt, r.count) for r in many[:50]]


def test_sizes_and_users_are_like_the_real_ones():
    asked = simulate_requests(1500, 4, 0)
    shares = Counter(request.count for request in asked)
    assert (
        abs(shares[2] / 1500 - 0.0194) < 0.012
        and abs(shares[3] / 1500 - 0.0332) < 0.015
        and set(shares) == {2, 3, 4}
    )
    assert abs(len({request.user for request in asked}) - 1500 / 9.5) < 10
    assert len({request.prompt for request in asked}) < 1500
    assert {request.count for request in simulate_requests(50, 2, 0)} == {2}
    assert max(Counter(r.count for r in simulate_requests(500, 3, 0)), key=lambda n: n) == 3


def test_people_mostly_pick_what_they_like(simulated, tmp_path):
    [*found] = channel.parse([write(tmp_path, requests=120, noise=0)]).choices
    truth = pd.read_parquet(tmp_path / "truth.parquet").set_index("file_name")["p"]
    picked = np.array([truth[choice.files[choice.chosen].name] for choice in found])
    expected = np.array([sum(truth[file.name] ** 2 for file in choice.files) for choice in found])
    assert abs((picked - expected).mean()) < 4 * (picked - expected).std() / np.sqrt(len(found))


def test_messages_have_the_exporters_fields_and_order(simulated, tmp_path):
    export = json.loads(write(tmp_path, requests=20, noise=0.5).read_text())
    assert set(export) == {
        "guild",
        "channel",
        "dateRange",
        "exportedAt",
        "messages",
        "messageCount",
    }
    ids = [int(message["id"]) for message in export["messages"]]
    assert ids == sorted(ids) and len(set(ids)) == len(ids) == export["messageCount"]
    assert {message["type"] for message in export["messages"]} == {"Default", "Reply"}
    pictures = [
        a for m in export["messages"] for a in m["attachments"] if (tmp_path / a["url"]).exists()
    ]
    assert all(a["fileSizeBytes"] == (tmp_path / a["url"]).stat().st_size for a in pictures)
    assert len({message["author"]["id"] for message in export["messages"] if message["author"]}) > 2


def test_shipped_models_write_an_export(tmp_path):
    models = {"pipeline": "miniature/stable-diffusion", "judge": "miniature/judge"}
    path = write(tmp_path, **models, requests=2, images=2, steps=2, guidance=3.0, noise=0)
    assert len(channel.parse([path]).choices) == 2
    assert read_image(Path(tmp_path) / "media" / "000001_1.png").shape == (64, 64, 3)


def test_a_model_of_another_size_is_refused_before_it_draws(simulated, tmp_path, monkeypatch):
    """If it failed, ten thousand pictures would be drawn that nobody can judge."""
    large = SimpleNamespace(
        unet=SimpleNamespace(config=SimpleNamespace(sample_size=64)), vae_scale_factor=8
    )
    monkeypatch.setattr(server, "load_pipeline", lambda *args: large)
    with pytest.raises(
        Problem, match="(?s)cannot judge this model's pictures.*draws 64 pixels.*512 pixels"
    ):
        write(tmp_path)
    assert DRAWN == []


def test_chances_of_choices_are_joined_by_message_and_file(simulated, tmp_path):
    files = [write(tmp_path)]
    parsed = channel.parse(files)
    _, origin, _ = hpd.write_pictures(parsed.choices, tmp_path / "hpd")
    shuffled = origin.iloc[::-1].assign(file_names=origin["file_names"].map(lambda n: n[::-1]))
    chances = sources.choice_chances("miniature", files, shuffled)
    truth = pd.read_parquet(tmp_path / "truth.parquet").set_index("file_name")["p"]
    assert set(chances) == set(origin["id"].astype(str))
    for row in shuffled.itertuples():
        assert chances[str(row.id)].tolist() == truth[row.file_names].tolist()
    assert sources.choice_chances("my_export", files, origin) == {}
    with pytest.raises(Problem, match="choices of another export"):
        sources.choice_chances("miniature", files, origin.assign(message_id="1"))


def test_another_seed_draws_other_pictures(simulated, tmp_path):
    """So a reader's deck shows no picture on which a score is trained."""
    pixels = []
    for seed in (0, 1000):
        folder = write(tmp_path / str(seed), seed=seed).parent
        pixels.append({path.read_bytes() for path in (folder / "media").glob("[0-8]*.png")})
    assert len(pixels[0]) > 200 and not pixels[0] & pixels[1]
