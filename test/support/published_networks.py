# SPDX-License-Identifier: Apache-2.0
"""Configurations as they are published on the hub: config.json and preprocessor_config.json.

What only describes a file, and what transformers' defaults say anyway, is left out. The entries of
ZoeDepth and Depth Pro that could not be read there follow from the number of their parameters.
"""

from __future__ import annotations

from typing import Any

_STAGES = ['stem', *(f'stage{number}' for number in range(1, 25))]
_HALF = {'image_mean': [0.5] * 3, 'image_std': [0.5] * 3}


def _depth_anything(large: bool = False, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    stages = [5, 12, 18, 24] if large else [3, 6, 9, 12]
    encoder = {
        'architectures': ['Dinov2Model'],
        'hidden_size': 1024 if large else 384,
        'image_size': 518,
        'model_type': 'dinov2',
        'num_attention_heads': 16 if large else 6,
        'num_hidden_layers': 24 if large else 12,
        'out_features': [f'stage{stage}' for stage in stages],
        'out_indices': stages,
        'patch_size': 14,
        'reshape_hidden_states': False,
        'torch_dtype': 'float32',
    }
    config = {
        '_commit_hash': None,
        'architectures': ['DepthAnythingForDepthEstimation'],
        'backbone': None,
        'backbone_config': encoder,
        'fusion_hidden_size': 256 if large else 64,
        'head_hidden_size': 32,
        'head_in_index': -1,
        'initializer_range': 0.02,
        'model_type': 'depth_anything',
        'neck_hidden_sizes': [256, 512, 1024, 1024] if large else [48, 96, 192, 384],
        'patch_size': 14,
        'reassemble_factors': [4, 2, 1, 0.5],
        'reassemble_hidden_size': 1024 if large else 384,
        'torch_dtype': 'float32',
        'transformers_version': None,
        'use_pretrained_backbone': False,
        **more,
    }
    processor = {
        'do_normalize': True,
        'do_pad': False,
        'do_rescale': True,
        'do_resize': True,
        'ensure_multiple_of': 14,
        'image_mean': [0.485, 0.456, 0.406],
        'image_processor_type': 'DPTImageProcessor',
        'image_std': [0.229, 0.224, 0.225],
        'keep_aspect_ratio': True,
        'resample': 3,
        'rescale_factor': 1 / 255,
        'size': {'height': 518, 'width': 518},
        'size_divisor': None,
    }
    return config, processor


def _dpt() -> tuple[dict[str, Any], dict[str, Any]]:
    config = {
        'architectures': ['DPTForDepthEstimation'],
        'auxiliary_loss_weight': 0.4,
        'backbone_out_indices': [5, 11, 17, 23],
        'hidden_size': 1024,
        'image_size': 384,
        'intermediate_size': 4096,
        'model_type': 'dpt',
        'neck_hidden_sizes': [256, 512, 1024, 1024],
        'num_attention_heads': 16,
        'num_hidden_layers': 24,
        'patch_size': 16,
        'readout_type': 'project',
        'semantic_classifier_dropout': 0.1,
        'torch_dtype': 'float32',
        'transformers_version': '4.18.0.dev0',
        'use_auxiliary_head': True,
        'use_batch_norm_in_fusion_residual': False,
    }
    processor = {
        'do_normalize': True,
        'do_resize': True,
        'feature_extractor_type': 'DPTFeatureExtractor',
        'resample': 2,
        'size': 384,
        **_HALF,
    }
    return config, processor


def _glpn() -> tuple[dict[str, Any], dict[str, Any]]:
    config = {
        'architectures': ['GLPNForDepthEstimation'],
        'classifier_dropout_prob': 0.1,
        'decoder_hidden_size': 64,
        'depths': [3, 8, 27, 3],
        'downsampling_rates': [1, 4, 8, 16],
        'hidden_sizes': [64, 128, 320, 512],
        'image_size': 224,
        'max_depth': 10,
        'model_type': 'glpn',
        'num_attention_heads': [1, 2, 5, 8],
        'torch_dtype': 'float32',
    }
    processor = {
        'do_rescale': True,
        'do_resize': True,
        'feature_extractor_type': 'GLPNFeatureExtractor',
        'resample': 2,
        'size_divisor': 32,
    }
    return config, processor


def _zoedepth(*reaches: float) -> tuple[dict[str, Any], dict[str, Any]]:
    encoder = {
        'hidden_size': 1024,
        'image_size': 384,
        'intermediate_size': 4096,
        'model_type': 'beit',
        'num_attention_heads': 16,
        'num_hidden_layers': 24,
        'out_features': ['stage6', 'stage12', 'stage18', 'stage24'],
        'out_indices': [6, 12, 18, 24],
        'reshape_hidden_states': False,
        'stage_names': _STAGES,
        'use_relative_position_bias': True,
    }
    several = len(reaches) > 1
    config = {
        'architectures': ['ZoeDepthForDepthEstimation'],
        'backbone': None,
        'backbone_config': encoder,
        'backbone_hidden_size': 1024,
        'bin_configurations': [
            {'max_depth': reach, 'min_depth': 0.001, 'n_bins': 64, 'name': name}
            for reach, name in zip(reaches, ('nyu', 'kitti'))
        ],
        'model_type': 'zoedepth',
        'neck_hidden_sizes': [256, 512, 1024, 1024],
        'num_patch_transformer_layers': 4 if several else None,
        'patch_transformer_hidden_size': 128 if several else None,
        'patch_transformer_intermediate_size': 1024 if several else None,
        'patch_transformer_num_attention_heads': 4 if several else None,
        'readout_type': 'project',
        'use_batch_norm_in_fusion_residual': False,
        'use_pretrained_backbone': False,
    }
    processor = {
        '_valid_processor_keys': ['images', 'do_resize'],
        'do_normalize': True,
        'do_pad': True,
        'do_rescale': True,
        'do_resize': True,
        'ensure_multiple_of': 32,
        'image_processor_type': 'ZoeDepthImageProcessor',
        'keep_aspect_ratio': True,
        'resample': 2,
        'rescale_factor': 1 / 255,
        'size': {'height': 384, 'width': 512},
        **_HALF,
    }
    return config, processor


def _depth_pro() -> tuple[dict[str, Any], dict[str, Any]]:
    encoder = {
        'hidden_size': 1024,
        'image_size': 384,
        'model_type': 'dinov2',
        'num_attention_heads': 16,
        'num_hidden_layers': 24,
        'out_features': ['stage24'],
        'out_indices': [24],
        'patch_size': 16,
        'stage_names': _STAGES,
        'use_mask_token': False,
    }
    config = {
        'architectures': ['DepthProForDepthEstimation'],
        'fov_model_config': encoder,
        'fusion_hidden_size': 256,
        'image_model_config': encoder,
        'model_type': 'depth_pro',
        'patch_model_config': encoder,
        'use_fov_model': True,
    }
    processor = {
        'do_normalize': True,
        'do_rescale': True,
        'do_resize': True,
        'image_processor_type': 'DepthProImageProcessor',
        'resample': 2,
        'rescale_factor': 1 / 255,
        'size': {'height': 1536, 'width': 1536},
        **_HALF,
    }
    return config, processor


_METRIC = {'depth_estimation_type': 'metric', 'max_depth': 20}
PUBLISHED = {
    'depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf': _depth_anything(**_METRIC),
    # As first published, under another name of the entry.
    'depth-anything/Depth-Anything-V2-Metric-Indoor-Large-hf': _depth_anything(
        large=True, depth_estimation='metric', max_depth=20
    ),
    'depth-anything/Depth-Anything-V2-Small-hf': _depth_anything(),
    'Intel/dpt-large': _dpt(),
    'vinvino02/glpn-nyu': _glpn(),
    'Intel/zoedepth-nyu': _zoedepth(10.0),
    'Intel/zoedepth-nyu-kitti': _zoedepth(10.0, 80.0),
    'apple/DepthPro-hf': _depth_pro(),
}
