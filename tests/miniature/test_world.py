"""The miniature's world and its renderer."""

from dataclasses import replace

import numpy as np
import pytest

from alignsd.miniature import world
from alignsd.miniature.renderer import BACKGROUND_COLOURS, OUTLINE, draw, random_look
from alignsd.miniature.web import make_web


def test_captions_read_back_as_their_scene():
    rng = np.random.default_rng(0)
    for _ in range(300):
        scene = world.random_scene(rng)
        text = world.caption(scene, rng)
        assert world.scene_of(text) == scene
        assert world.scene_of(world.IDENTIFIER + text) == scene
        assert not any(word in text for word in ("arm", "leg", "head", "weird", "missing"))


def test_the_identifiers_words_never_occur_in_the_web():
    captions = " ".join(make_web(300, seed=1, flaw_share=0.5).captions).lower()
    assert "weird" not in captions and "image" not in captions


def test_a_picture_depends_on_its_number_alone():
    whole, part = make_web(6, seed=5, flaw_share=0.5), make_web(2, seed=5, flaw_share=0.5, first=4)
    assert (whole.pictures[4:] == part.pictures).all() and whole.captions[4:] == part.captions


@pytest.mark.parametrize("flaw", world.FLAWS[1:])
@pytest.mark.parametrize("pose", world.POSES)
def test_every_flaw_is_visible_in_every_pose(pose, flaw):
    scene = world.Scene("red", pose, "beach", hat=False)
    look = random_look(np.random.default_rng(1))
    right = draw(scene, "none", look, np.random.default_rng(2)).astype(int)
    wrong = draw(scene, flaw, look, np.random.default_rng(2)).astype(int)
    changed = (np.abs(right - wrong).max(axis=2) > 40).sum()
    assert changed >= 25  # pixels of 4,096: a limb covers about 60


def luminance(colour):
    """Relative luminance of an sRGB colour, WCAG 2.2."""
    values = np.array(colour) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return np.dot(linear, (0.2126, 0.7152, 0.0722))


@pytest.mark.parametrize("place", world.BACKGROUNDS)
def test_outlines_stand_out_from_every_background(place):
    dark = luminance(OUTLINE) + 0.05
    for colour in BACKGROUND_COLOURS[place]:
        contrast = (luminance(colour) + 0.05) / dark
        assert contrast >= 3  # WCAG 2.2, 1.4.11: graphics that one must make out


def test_flaw_share_is_kept():
    flaws = make_web(1000, seed=2, flaw_share=0.65).flaws
    assert abs(np.mean([flaw != "none" for flaw in flaws]) - 0.65) < 0.05


def test_a_wider_web_tells_the_bodies_of_creatures_alone():
    web = make_web(400, seed=4, flaw_share=0.5, creatures=0.5)
    pages = zip(web.captions, web.scenes, web.flaws, web.creatures, strict=True)
    for text, scene, flaw, creature in pages:
        assert world.scene_of(text) == scene
        assert ("creature" in text) == creature
        bodies = world.BODIES.items()
        told = [name for name, body in bodies if f"creature with {body}" in text]
        assert told == ([flaw] if creature else [])
        assert creature or not any(word in text for word in ("arm", "leg", "head"))
    assert set(np.array(web.flaws)[web.creatures]) == set(world.FLAWS)
    assert abs(web.creatures.mean() - 0.5) < 0.1


def test_a_wider_web_remarks_on_what_is_to_be_seen():
    look = random_look(np.random.default_rng(0))
    assert replace(look, dx=-5.0, saturation=1.3).remarks == ("on the left", "vivid colours")
    assert replace(look, dx=0.0, saturation=0.6).remarks == ("in the middle", "pale colours")
    assert replace(look, dx=5.0, saturation=1.0).remarks == ("on the right", "natural colours")


def test_a_caption_is_true_of_every_picture_that_shows_what_it_says():
    web = make_web(600, seed=4, flaw_share=0.5, creatures=0.5)
    true = web.true_captions(np.arange(len(web)))
    assert true.diagonal().all()
    assert true.sum() > len(web)
    for picture, caption in np.argwhere(true):
        assert web.scenes[picture] == web.scenes[caption]
        assert web.creatures[picture] == web.creatures[caption]
        assert not web.creatures[picture] or web.flaws[picture] == web.flaws[caption]
        said = zip(web.said[caption], web.remarks[picture], strict=True)
        assert all(word in ("", seen) for word, seen in said)


def test_a_caption_without_remarks_is_true_of_every_person_in_the_scene():
    web = make_web(600, seed=4, flaw_share=0.5, creatures=0.5)
    true = web.true_captions(np.arange(len(web)))
    is_silent = (web.said == "").all(axis=1)
    people = np.flatnonzero(~web.creatures & is_silent)
    assert len(people)
    for caption in people:
        is_scene = np.array([scene == web.scenes[caption] for scene in web.scenes])
        assert true[:, caption].sum() == (is_scene & ~web.creatures).sum()


def test_captions_of_some_pictures_are_those_of_all():
    web = make_web(10, seed=4, flaw_share=0.5, creatures=0.5)
    true = web.true_captions(np.arange(len(web)))
    some = np.array([1, 5])
    assert (true[np.ix_(some, some)] == web.true_captions(some)).all()
