import pytest
import torch
from safetensors.torch import save_file

from denoisers.checkpoint import CheckpointError, load_denoiser

FILES = {
    "model.diffusion_model.input_blocks.0.0.weight": "a model of another program in one file",
    "first_stage_model.decoder.conv_in.weight": "a model of another program in one file",
    "conditioner.embedders.0.transformer.weight": "a model of another program in one file",
    "double_blocks.0.img_attn.qkv.weight": "a transformer of another program",
    "joint_blocks.0.x_block.attn.qkv.weight": "a transformer of another program",
    "lora_unet_down_blocks_0.lora_down.weight": "a LoRA",
    "unet.down_blocks.0.attn1.to_q.lora_A.weight": "a LoRA",
    "control_model.input_blocks.0.0.weight": "a ControlNet",
    "down_blocks.0.resnets.0.conv1.weight": "one network of diffusers",
    "transformer_blocks.0.attn.to_q.weight": "one network of diffusers",
    "decoder.conv_in.weight": "an autoencoder",
    "text_model.encoder.layers.0.mlp.fc1.weight": "an encoder of text",
}


@pytest.mark.parametrize("key", FILES)
def test_a_file_of_another_program_is_said_to_be_what_it_is(key, tmp_path):
    file = tmp_path / "model.safetensors"
    save_file({key: torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match=rf"{file} is {FILES[key]}.*denoiser=diffusers:"):
        load_denoiser(file)


@pytest.mark.parametrize("name", ["google/ddpm-church-256", "owner/model@fp16", "owner/model-v1.5"])
def test_a_name_on_the_hub_wants_its_prefix(name):
    with pytest.raises(CheckpointError, match=f"give denoiser=diffusers:{name}"):
        load_denoiser(name)


@pytest.mark.parametrize("index", ["model_index.json", "config.json"])
def test_a_folder_of_diffusers_wants_its_prefix(index, tmp_path):
    (tmp_path / index).write_text("{}")
    with pytest.raises(CheckpointError, match=f"give denoiser=diffusers:{tmp_path}"):
        load_denoiser(tmp_path)


def test_a_folder_of_something_else_is_a_folder(tmp_path):
    with pytest.raises(CheckpointError, match=r"is a folder: give a \.safetensors file"):
        load_denoiser(tmp_path)


@pytest.mark.parametrize("key", ["weight", "network.0.weight"])
def test_a_file_that_nothing_is_known_of_misses_its_description(key, tmp_path):
    file = tmp_path / "model.safetensors"
    save_file({key: torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match=r"model\.json is missing"):
        load_denoiser(file)


def test_a_file_that_is_not_there_is_missing(tmp_path):
    for path in (tmp_path / "model.safetensors", "checkpoints/model.safetensors"):
        with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
            load_denoiser(path)
