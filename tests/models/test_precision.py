"""Half precision keeps the scores: on the miniature's pictures, and on a CLIP of full size."""

import numpy as np
import open_clip
import pytest
import torch

from alignsd.base.errors import Problem
from alignsd.base.images import read_image
from alignsd.base.paths import SHIPPED
from alignsd.models.clip import Clip, embed_images, load_clip
from alignsd.models.registry import scoring_precision
from alignsd.reward.hps import score

TOLERANCE = 0.02  # HPS units
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pictures():
    """Pictures that the miniature drew: its samples, cut apart."""
    sheet = read_image(SHIPPED / "samples.png")
    height, width = sheet.shape[:2]
    corners = [(y, x) for y in range(0, height - 63, 64) for x in range(0, width - 63, 64)]
    return [np.ascontiguousarray(sheet[y : y + 64, x : x + 64]) for y, x in corners]


def test_half_precision_keeps_the_scores_and_their_order(pictures):
    prompts = ["a person waving on the beach"] * len(pictures)
    single = score(load_clip("miniature/clip", device="cpu"), pictures, prompts)
    half = load_clip("miniature/clip", device="cpu", precision=torch.float16)
    scored = score(half, pictures, prompts)
    assert not np.array_equal(single, scored), "the products were in half precision"
    assert np.abs(single - scored).max() < TOLERANCE
    first, second = np.triu_indices(len(pictures), 1)
    gap, gap_in_half = single[first] - single[second], scored[first] - scored[second]
    clear = np.abs(gap) > 2 * TOLERANCE  # closer scores are ties
    assert clear.sum() > 20
    assert (np.sign(gap[clear]) == np.sign(gap_in_half[clear])).all()


def test_embeddings_in_half_precision_are_unit_vectors_in_single_precision(pictures):
    half = load_clip("miniature/clip", device="cpu", precision=torch.float16)
    embeddings = embed_images(half, pictures[:3])
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-6)


def test_a_transformer_of_openai_s_kind_keeps_the_scores():
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32-quickgelu", pretrained=None, device="cpu").eval()
    tokenizer = open_clip.get_tokenizer("ViT-B-32-quickgelu")
    rng = np.random.default_rng(0)
    images = [rng.integers(256, size=(224, 224, 3), dtype=np.uint8) for _ in range(2)]
    single = score(Clip(model, tokenizer, CPU), images, ["a cat", "a dog"])
    half = Clip(model, tokenizer, CPU, precision=torch.float16)
    np.testing.assert_allclose(score(half, images, ["a cat", "a dog"]), single, atol=TOLERANCE)


def test_a_cpu_scores_in_single_precision_and_a_gpu_in_half():
    assert load_clip("miniature/clip", device="cpu").precision == torch.float32
    assert scoring_precision(torch.device("cuda")) == torch.float16


def test_a_precision_of_whole_numbers_is_refused():
    with pytest.raises(Problem, match="torch.float16"):
        load_clip("miniature/clip", device="cpu", precision=torch.int8)
