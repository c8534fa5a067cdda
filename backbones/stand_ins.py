"""Small random models of the backbones' own classes, for machines without the trained weights.

They know nothing that training would have taught them. They are good for running every line of code
that the trained ones go through, and for showing what attention to an untaught network is worth.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from backbones.pretrained import transformers
from denoisers.pretrained.spelling import clip_tokenizer

__all__ = ["save_clip", "save_dino"]

TRANSFORMER = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
CLIP_PATCH, CLIP_SIDE = 8, 32  # pixels: 4 x 4 local tokens
DINO_PATCH, DINO_SIDE = 14, 56  # pixels: 4 x 4 local tokens
# Pictures' shorter side before the square is cut out, as 256 is to 224 for the trained models.
DINO_RESIZED = 64


def save_clip(folder: str | Path, seed: int = 0) -> None:
    """Writes a random CLIP: two towers, preprocessing, and a tokenizer that spells.

    32 features, 4 x 4 local tokens. The tokenizer has every byte, alone and at the end of a word,
    and no merges: a prompt may have some seventy letters.

    Args:
        folder: Made if it does not exist.
        seed: Seeds the weights.
    """
    library = transformers()
    tokenizer = clip_tokenizer()
    tower = TRANSFORMER | {"intermediate_size": 128, "projection_dim": 32}
    text = tower | {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 77,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = tower | {"image_size": CLIP_SIDE, "patch_size": CLIP_PATCH}
    config = library.CLIPConfig(text_config=text, vision_config=vision, projection_dim=32)
    processor = library.CLIPImageProcessor(
        size={"shortest_edge": CLIP_SIDE}, crop_size={"height": CLIP_SIDE, "width": CLIP_SIDE}
    )
    for part in (_random(library.CLIPModel, config, seed), processor, tokenizer):
        part.save_pretrained(folder)


def save_dino(folder: str | Path, seed: int = 0) -> None:
    """Writes a random DINOv2 with its preprocessing: 64 features, 4 x 4 local tokens.

    Args:
        folder: Made if it does not exist.
        seed: Seeds the weights.
    """
    library = transformers()
    # As in the trained models, position embeddings are of another size than what is shown.
    config = library.Dinov2Config(
        **TRANSFORMER, mlp_ratio=2, image_size=DINO_RESIZED + 6, patch_size=DINO_PATCH
    )
    processor = library.BitImageProcessor(
        size={"shortest_edge": DINO_RESIZED},
        crop_size={"height": DINO_SIDE, "width": DINO_SIDE},
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    for part in (_random(library.Dinov2Model, config, seed), processor):
        part.save_pretrained(folder)


def _random(kind: type, config: Any, seed: int) -> Any:
    """Returns a model whose linear maps neither stretch nor shrink what they are given.

    The libraries' own draws are so small that an untaught network hardly looks at its image.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = kind(config)
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
                nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
    return network
