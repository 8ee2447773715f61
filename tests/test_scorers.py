"""Every score loads from a file in its authors' format, and says what is missing."""

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, CLIPConfig, CLIPModel

from alignsd import scorers
from alignsd.errors import Problem
from alignsd.hps import score
from alignsd.miniature import WEIGHTS
from alignsd.paths import root

IMAGES = [np.random.default_rng(i).integers(256, size=(32, 32, 3), dtype=np.uint8) for i in range(2)]
PROMPTS = ["a person in a red shirt", "a person in a red shirt waving on the beach"]


@pytest.fixture(scope="module")
def pickscore(tmp_path_factory):
    """A small CLIP as transformers saves it, with the miniature's tokenizer."""
    folder = tmp_path_factory.mktemp("pickscore")
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS / "stable-diffusion" / "tokenizer")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    layers = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
    text = dict(layers, vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, max_position_embeddings=77)
    config = CLIPConfig(text_config=text, vision_config=dict(layers, image_size=32, patch_size=8), projection_dim=16)
    CLIPModel(config).save_pretrained(folder)
    return folder


def test_pickscore_is_transformers_own_logit(pickscore):
    model = CLIPModel.from_pretrained(pickscore).eval()
    tokenizer = AutoTokenizer.from_pretrained(pickscore)
    mean, std = torch.tensor(scorers.OPENAI_MEAN), torch.tensor(scorers.OPENAI_STD)
    pixels = ((torch.from_numpy(np.stack(IMAGES)) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = model(**tokenizer(PROMPTS, padding=True, return_tensors="pt"), pixel_values=pixels).logits_per_image
    found = score(scorers.load_scorer("PickScore", str(pickscore), "cpu"), IMAGES, PROMPTS)
    assert np.allclose(found, logits.diagonal().numpy(), atol=1e-4)


def test_an_unknown_score_lists_the_known_ones():
    with pytest.raises(Problem, match="CLIP score, HPS v1, HPS v2, HPS v2.1, PickScore"):
        scorers.load_scorer("HPS v3")


def test_hps_v1_is_on_no_hub_and_says_where_it_is_told():
    with pytest.raises(Problem, match="docs/data.md"):
        scorers.load_scorer("HPS v1")


def test_without_network_the_message_names_file_and_repository(monkeypatch):
    def unreachable(repository, file):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(scorers, "hf_hub_download", unreachable)
    with pytest.raises(Problem, match=r"HPS_v2.1_compressed.pt of xswu/HPSv2") as problem:
        scorers.load_scorer("HPS v2.1")
    assert "no route to host" in str(problem.value)


def test_a_folder_that_is_no_pickscore_says_so(tmp_path):
    with pytest.raises(Problem, match="transformers CLIPModel"):
        scorers.load_scorer("PickScore", str(tmp_path), "cpu")


def test_the_table_of_scores_in_the_documents_is_the_code_s():
    text = (root() / "docs" / "scorers.md").read_text(encoding="utf-8")
    for name, recipe in scorers.RECIPES.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
        assert all(part in row for part in (recipe.model, recipe.repository, recipe.file, recipe.fit, recipe.unit, recipe.source))
