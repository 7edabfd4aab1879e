# SPDX-License-Identifier: Apache-2.0
"""Build networks with the package `transformers` from their configuration, without downloads.

Only these networks need the package: `pip install "depth_perception[hub]"`.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor, nn

from depth_perception.networks.registry import register_network

#: Model types that are known to work.
MODEL_TYPES = ('depth_anything', 'depth_pro', 'dpt', 'glpn', 'prompt_depth_anything', 'zoedepth')


class TransformersDepth(nn.Module):
    """Wrap a `transformers` depth network to map (B, 3, H, W) to (B, 1, h, w)."""

    #: DPT, for example, accepts only one image size.
    takes_any_size = False

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        #: Whether a trace is valid for every image: ZoeDepth with several heads chooses a head by
        #: the content of the image.
        self.traceable = len(getattr(model.config, 'bin_configurations', None) or ()) < 2

    def forward(self, image: Tensor) -> Tensor:
        """Return the depth, or another kind of output of the network."""
        output = self.model(pixel_values=image)
        depth: Tensor = output.predicted_depth[:, None]
        angle = getattr(output, 'field_of_view', None)
        if angle is not None:
            # Depth Pro: multiply by width / focal length, with the focal length that the network
            # estimates (Bochkovskii et al. 2024, 3.1).
            depth = depth * (2 * torch.tan(0.5 * torch.deg2rad(angle))).view(-1, 1, 1, 1)
        return depth


@register_network('transformers', imported=True)
def transformers_network(config: str) -> nn.Module:
    """Build the network of a configuration, given as JSON like `config.json`.

    Raises:
        ValueError: the configuration is not of a supported depth network.
        ImportError: transformers is not installed.
    """
    import transformers

    with quiet(transformers):
        settings = configuration(transformers, json.loads(config))
        model = transformers.AutoModelForDepthEstimation.from_config(settings)
    for module in model.modules():
        # Who reads all attributes, as a tracer does, would be warned of a loss that is not used.
        if getattr(module, 'loss_type', '') is None:
            module.loss_type = 'ForCausalLM'
    return TransformersDepth(model)


def configuration(transformers: Any, values: dict[str, Any]) -> Any:
    """Return the configuration object for the values of a `config.json`.

    Raises:
        ValueError: the values are not of a supported depth network.
    """
    refuse_unknown(values)
    values = dict(values)
    try:
        return transformers.AutoConfig.for_model(values.pop('model_type'), **values)
    except Exception as error:  # the type of the error depends on the version
        raise ValueError(
            f'transformers {transformers.__version__} cannot build its configuration: {error}'
        ) from error


def refuse_unknown(values: Any) -> None:
    """Refuse a configuration that is not supported or would need a download.

    Raises:
        ValueError: the message says which of the two.
    """
    kind = values.get('model_type') if isinstance(values, dict) else None
    if kind not in MODEL_TYPES:
        raise ValueError(
            f'its model_type is {kind!r}: of transformers this program runs '
            f'{", ".join(MODEL_TYPES)}'
        )
    named = values.get('backbone')
    if isinstance(named, str) and not isinstance(values.get('backbone_config'), dict):
        raise ValueError(
            f'its configuration names its encoder ({named!r}) instead of describing '
            'it, which would have to be downloaded: use one with backbone_config'
        )


class quiet:  # noqa: N801 - reads as a statement
    """Context manager that hides progress bars and warnings of transformers."""

    def __init__(self, transformers: Any) -> None:
        self._logging = transformers.utils.logging

    def __enter__(self) -> None:
        self._level = self._logging.get_verbosity()
        self._bars = self._logging.is_progress_bar_enabled()
        self._logging.set_verbosity_error()
        self._logging.disable_progress_bar()

    def __exit__(self, *_error: object) -> None:
        self._logging.set_verbosity(self._level)
        if self._bars:
            self._logging.enable_progress_bar()
