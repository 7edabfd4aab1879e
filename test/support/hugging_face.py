# SPDX-License-Identifier: Apache-2.0
"""Small networks of random weights in the Hugging Face layout, one of each family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip(
    'transformers', reason='transformers is not installed: pip install "depth_perception[hub]"'
)
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()


def _dinov2() -> Any:
    return transformers.Dinov2Config(
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        out_features=['stage1', 'stage2', 'stage3', 'stage4'],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )


def _of_depth_anything(config: Any, processor: Any, **more: Any) -> tuple[Any, Any]:
    return config(
        backbone_config=_dinov2(),
        reassemble_hidden_size=24,
        neck_hidden_sizes=[8, 12, 16, 24],
        fusion_hidden_size=12,
        head_hidden_size=8,
        **more,
    ), processor(size={'height': 70, 'width': 70}, keep_aspect_ratio=True, ensure_multiple_of=14)


def _depth_anything(**more: Any) -> tuple[Any, Any]:
    return _of_depth_anything(
        transformers.DepthAnythingConfig, transformers.DPTImageProcessor, **more
    )


def _prompt_depth_anything() -> tuple[Any, Any]:
    return _of_depth_anything(
        transformers.PromptDepthAnythingConfig,
        transformers.PromptDepthAnythingImageProcessor,
        depth_estimation_type='metric',
    )


def _dpt() -> tuple[Any, Any]:
    config = transformers.DPTConfig(
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=64,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        fusion_hidden_size=12,
        neck_hidden_sizes=[8, 12, 16, 24],
        is_hybrid=False,
    )
    return config, transformers.DPTImageProcessor(size={'height': 64, 'width': 64})


def _glpn() -> tuple[Any, Any]:
    config = transformers.GLPNConfig(
        hidden_sizes=[8, 12, 16, 24],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=8,
    )
    return config, transformers.GLPNImageProcessor()


def _zoedepth(heads: int = 1) -> tuple[Any, Any]:
    backbone = transformers.BeitConfig(
        image_size=64,
        patch_size=16,
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        out_features=['stage1', 'stage2', 'stage3', 'stage4'],
        reshape_hidden_states=False,
        use_relative_position_bias=True,
    )
    ranges = [
        {'n_bins': 8, 'min_depth': 1e-3, 'max_depth': 10.0 * (k + 1), 'name': f'head{k}'}
        for k in range(heads)
    ]
    config = transformers.ZoeDepthConfig(
        backbone_config=backbone,
        neck_hidden_sizes=[8, 12, 16, 24],
        fusion_hidden_size=12,
        bottleneck_features=12,
        num_relative_features=8,
        bin_embedding_dim=8,
        num_attractors=[4, 3, 2, 1],
        bin_configurations=ranges,
        num_patch_transformer_layers=4,
        patch_transformer_hidden_size=128,
        patch_transformer_intermediate_size=16,
        patch_transformer_num_attention_heads=2,
    )
    return config, transformers.ZoeDepthImageProcessor(
        size={'height': 64, 'width': 96}, ensure_multiple_of=32
    )


def _depth_pro() -> tuple[Any, Any]:
    patches = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=16, patch_size=4
    )
    config = transformers.DepthProConfig(
        fusion_hidden_size=16,
        patch_size=16,
        intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[8, 8],
        scaled_images_ratios=[0.5, 1.0],
        scaled_images_overlap_ratios=[0.0, 0.25],
        scaled_images_feature_dims=[16, 12],
        merge_padding_value=1,
        image_model_config=patches,
        patch_model_config=patches,
        fov_model_config=patches,
        use_fov_model=True,
    )
    return config, transformers.DepthProImageProcessor(size={'height': 64, 'width': 64})


#: The configuration and the image processor of each.
FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    'depth_anything_relative': _depth_anything,
    'depth_anything_metric': lambda: _depth_anything(depth_estimation_type='metric', max_depth=20),
    'prompt_depth_anything': _prompt_depth_anything,
    'dpt': _dpt,
    'glpn': _glpn,
    'zoedepth': _zoedepth,
    'zoedepth_two_heads': lambda: _zoedepth(2),
    'depth_pro': _depth_pro,
}


def write(family: str, folder: Path) -> Path:
    """Write a network of a family into a folder, as its authors publish it."""
    torch.manual_seed(0)
    config, processor = FAMILIES[family]()
    model = transformers.AutoModelForDepthEstimation.from_config(config).eval()
    with torch.no_grad():  # random weights alone give nearly the same depth everywhere
        for name, parameter in model.named_parameters():
            if parameter.numel() == 1:  # what the whole output is shifted by
                parameter.fill_(60.0 if 'fov' in name else 30.0 if family == 'depth_pro' else 1.0)
            elif parameter.ndim > 1:
                parameter.normal_(0, (2 / parameter[0].numel()) ** 0.5)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
