"""Drawing with the shipped miniature model: seeds, batches, negative prompts, refusals."""

import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from safetensors.torch import load_file, save_file

from alignsd.base.errors import Problem
from alignsd.models.registry import resolve
from alignsd.models.stable_diffusion import Drawing, Job, generate, image_seed, load_pipeline

PROMPT = "a person in a red shirt standing on the beach"
NAME_OF_TORCH = {  # part -> the name that the libraries give to its weights as a file of torch
    "unet": "diffusion_pytorch_model.bin",
    "vae": "diffusion_pytorch_model.bin",
    "text_encoder": "pytorch_model.bin",
}


@pytest.fixture(scope="module")
def pipeline():
    return load_pipeline("miniature/stable-diffusion", device="cpu")


def jobs_of(count):
    return [Job(f"j{i}", PROMPT, image_seed(0, "test", i)) for i in range(count)]


def drawn(pipeline, jobs, drawing, done=()):
    """Return job id -> image."""
    return {job.id: image for job, image in generate(pipeline, jobs, drawing, done)}


def test_seeds_follow_from_their_key():
    assert image_seed(0, "p1", 2) == image_seed(0, "p1", 2)
    keys = [(seed, prompt, i) for seed in (0, 1) for prompt in ("p1", "p2") for i in range(3)]
    assert len({image_seed(*key) for key in keys}) == 12


def test_images_are_arrays_of_bytes_in_the_order_of_the_jobs(pipeline):
    jobs = jobs_of(5)
    images = drawn(pipeline, jobs, Drawing(1, 1.5, batch=2))
    assert list(images) == [job.id for job in jobs]
    for image in images.values():
        assert isinstance(image, UInt8[np.ndarray, "64 64 3"])


def test_any_subset_and_batch_gives_the_same_pixels_to_within_a_grey_level(pipeline):
    whole = drawn(pipeline, jobs_of(5), Drawing(3, 3.0, batch=5))
    some = drawn(pipeline, jobs_of(5)[3:], Drawing(3, 3.0, batch=1))
    assert len(some) == 2
    for name, image in some.items():
        difference = image.astype(int) - whole[name].astype(int)
        assert np.abs(difference).max() <= 1, "batched arithmetic rounds differently"


def test_what_was_drawn_before_changes_no_pixel(pipeline):
    """If it failed, a resumed run would end with other pictures than an uninterrupted run."""
    jobs = [Job(f"j{i}", f"a person number {i}", i) for i in range(7)]
    drawing = Drawing(2, 1.5, batch=3)
    whole = drawn(pipeline, jobs, drawing)
    rest = drawn(pipeline, jobs, drawing, done={"j0", "j1", "j2", "j4", "j6"})
    assert list(rest) == ["j3", "j5"]
    for name, image in rest.items():
        assert (image == whole[name]).all()
    assert drawn(pipeline, jobs, drawing, done=whole) == {}


def test_negative_prompt_changes_the_image(pipeline):
    plain = Job("plain", PROMPT, 1)
    negative = Job("negative", PROMPT, 1, negative="a person at night")
    images = drawn(pipeline, [plain, negative], Drawing(3, 3.0))
    assert (images["plain"] != images["negative"]).any()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 0}, "steps is too small"),
        ({"batch": 0}, "batch is too small"),
        ({"guidance": -1.0}, "guidance is too small"),
        ({"guidance": float("nan")}, "guidance is not a finite number"),
    ],
)
def test_a_drawing_out_of_its_range_is_refused_before_a_model_is_loaded(settings, words):
    with pytest.raises(Problem, match=words):
        Drawing(**{"steps": 2, "guidance": 1.5} | settings)


def test_missing_models_and_adapters_are_told(tmp_path):
    with pytest.raises(Problem, match="could not be loaded"):
        load_pipeline(str(tmp_path / "nothing"))
    with pytest.raises(Problem, match="no LoRA"):
        load_pipeline("miniature/stable-diffusion", "cpu", adapter=tmp_path)


def copied(tmp_path):
    """Return a copy of the miniature's folder, which a test may damage."""
    return shutil.copytree(resolve("miniature/stable-diffusion"), tmp_path / "sd")


@pytest.mark.parametrize(
    ("absent", "words"),
    [
        (("tokenizer.json", "vocab.json", "merges.txt"), "tokenizer without a vocabulary"),
        (("tokenizer_config.json",), "model_max_length 1e.30"),
    ],
)
def test_a_model_without_all_files_of_its_tokenizer_is_refused(tmp_path, absent, words):
    """If it failed, every prompt would give the same picture, or drawing would overflow."""
    folder = copied(tmp_path)
    for name in absent:
        (folder / "tokenizer" / name).unlink()
    with pytest.raises(Problem, match=f"(?s){words}.*unfinished download"):
        load_pipeline(str(folder), "cpu")


def test_a_model_without_the_folder_of_its_tokenizer_is_refused(tmp_path):
    folder = copied(tmp_path)
    shutil.rmtree(folder / "tokenizer")
    with pytest.raises(Problem, match="no tokenizer that can be used"):
        load_pipeline(str(folder), "cpu")


def configured(folder, part, **values):
    """Change values of a part's configuration."""
    file = folder / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_a_model_for_inpainting_is_refused_when_it_is_loaded(tmp_path):
    folder = copied(tmp_path)
    configured(folder, "unet", in_channels=9)
    pad = (0, 0, 0, 0, 0, 5)
    edited(
        weights_of(folder, "unet"),
        lambda name, value: F.pad(value, pad) if name == "conv_in.weight" else value,
    )
    with pytest.raises(Problem, match="(?s)does not draw from a prompt alone.*9 channels"):
        load_pipeline(str(folder), "cpu")


def test_a_model_that_predicts_pictures_is_refused(tmp_path):
    """If it failed, a LoRA would be trained towards the noise, without a word."""
    folder = copied(tmp_path)
    configured(folder, "scheduler", prediction_type="sample")
    with pytest.raises(Problem, match="(?s)predicts what we cannot train.*'sample'"):
        load_pipeline(str(folder), "cpu")


def edited(file, change):
    """Change the tensors of a file of weights; a change that returns None drops the tensor."""
    changed = {name: change(name, value) for name, value in load_file(file).items()}
    kept = {name: value for name, value in changed.items() if value is not None}
    save_file(kept, file, {"format": "pt"})


def weights_of(folder, part):
    return next((folder / part).glob("*.safetensors"))


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_part_with_numbers_that_are_not_finite_is_refused(tmp_path, part):
    """If it failed, pictures would be black without a word."""
    folder = copied(tmp_path)
    edited(weights_of(folder, part), lambda name, value: value * float("nan"))
    with pytest.raises(Problem, match=f"(?s)part {part}.*no weight can be.*not finite"):
        load_pipeline(str(folder), "cpu")


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_part_that_lacks_tensors_is_refused(tmp_path, part):
    """If it failed, a text encoder would be random, and another part would end in a traceback."""
    folder = copied(tmp_path)
    first = next(iter(load_file(weights_of(folder, part))))
    edited(weights_of(folder, part), lambda name, value: None if name == first else value)
    with pytest.raises(Problem, match=f"(?s)is not whole.*absent from the {part}: 1"):
        load_pipeline(str(folder), "cpu")


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_part_of_whole_numbers_is_refused(tmp_path, part, suffix):
    """If it failed, weights of 8 bits without their scale would draw."""
    folder = copied(tmp_path)
    file = weights_of(folder, part)
    edited(file, lambda name, value: (value * 9).round().clamp(-9, 9).char())
    if suffix == ".bin":
        torch.save(load_file(file), file.with_name(NAME_OF_TORCH[part]))
        file.unlink()
    with pytest.raises(Problem, match=f"(?s)part {part}, is quantized.*8-bit whole numbers"):
        load_pipeline(str(folder), "cpu")


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-9]), "cut off"),
        (lambda file: file.write_text("version https://git-lfs.github.com/x"), "Git LFS"),
        (lambda file: file.with_name("config.json").write_text("{"), "config.json"),
        (lambda file: file.rename(file.with_suffix(".fp16.safetensors")), "variant='fp16'"),
        (lambda file: file.unlink(), "no weights in the folder"),
        (lambda file: shutil.rmtree(file.parent), "no folder"),
        (lambda file: edited(file, lambda name, value: value[None]), "do not fit each other"),
    ],
    ids=["cut", "pointer", "JSON", "variant", "no weights", "no folder", "shape"],
)
def test_a_damaged_folder_is_told_for_what_it_is(tmp_path, part, damage, words):
    folder = copied(tmp_path)
    damage(weights_of(folder, part))
    with pytest.raises(Problem) as told:
        load_pipeline(str(folder), "cpu")
    assert words in str(told.value)
    assert "network" not in str(told.value) and "hf download" not in str(told.value)


def test_a_checkpoint_in_one_file_is_told_how_to_convert(tmp_path):
    save_file({"model.diffusion_model.x": torch.zeros(1)}, tmp_path / "v1-4.safetensors")
    for path in (tmp_path, tmp_path / "v1-4.safetensors"):
        with pytest.raises(Problem, match=r"(?s)one file.*from_single_file\('.*v1-4.safetensors'"):
            load_pipeline(str(path), "cpu")


def test_a_path_that_leads_nowhere_is_no_question_of_the_network(tmp_path):
    with pytest.raises(Problem, match="there is no such folder") as told:
        load_pipeline(str(tmp_path / "nothing"), "cpu")
    assert "hf download" not in str(told.value)


@pytest.mark.parametrize("options", [{"max_shard_size": "200KB"}, {"safe_serialization": False}])
def test_shards_and_files_of_torch_load_to_the_same_weights(pipeline, tmp_path, options):
    pipeline.save_pretrained(tmp_path / "sd", **options)
    loaded = load_pipeline(str(tmp_path / "sd"), "cpu")
    for part in ("unet", "vae", "text_encoder"):
        own, other = (getattr(model, part).state_dict() for model in (pipeline, loaded))
        assert all(torch.equal(value, other[name]) for name, value in own.items())


def test_a_missing_shard_is_told(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "sd", max_shard_size="200KB")
    next((tmp_path / "sd" / "unet").glob("*-00001-of-*")).unlink()
    with pytest.raises(Problem, match="files of weights in unet"):
        load_pipeline(str(tmp_path / "sd"), "cpu")
