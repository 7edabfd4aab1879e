# SPDX-License-Identifier: Apache-2.0
"""Networks that the package `transformers` builds from their configuration; nothing is downloaded.

The package is needed for these alone: `pip install "depth_perception[hub]"`.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor, nn

from depth_perception.networks.registry import register_network

#: Types of configurations that are known to work.
MODEL_TYPES = ('depth_anything', 'depth_pro', 'dpt', 'glpn', 'zoedepth')


class TransformersDepth(nn.Module):
    """A depth network of `transformers` as every network here: (B, 3, H, W) -> (B, 1, h, w)."""

    #: DPT takes images of one size, for example.
    takes_any_size = False

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        #: Whether its trace is right for every image: ZoeDepth with several heads looks at the
        #: image to choose one.
        self.traceable = len(getattr(model.config, 'bin_configurations', None) or ()) < 2

    def forward(self, image: Tensor) -> Tensor:
        """Depth, or what else the network gives."""
        output = self.model(pixel_values=image)
        depth: Tensor = output.predicted_depth[:, None]
        angle = getattr(output, 'field_of_view', None)
        if angle is not None:
            # Depth Pro: width / focal length, by the focal length that it estimates itself
            # (Bochkovskii et al. 2024, 3.1).
            depth = depth * (2 * torch.tan(0.5 * torch.deg2rad(angle))).view(-1, 1, 1, 1)
        return depth


@register_network('transformers', imported=True)
def transformers_network(config: str) -> nn.Module:
    """The network of a configuration, which is JSON as in `config.json`.

    Raises:
        ValueError: the configuration is none of a depth network that is known.
        ImportError: transformers is not installed.
    """
    import transformers

    with quiet(transformers):
        settings = configuration(transformers, json.loads(config))
        return TransformersDepth(transformers.AutoModelForDepthEstimation.from_config(settings))


def configuration(transformers: Any, values: dict[str, Any]) -> Any:
    """The configuration of such values.

    Raises:
        ValueError: they are none of a depth network that is known.
    """
    refuse_unknown(values)
    values = dict(values)
    try:
        return transformers.AutoConfig.for_model(values.pop('model_type'), **values)
    except Exception as error:  # each version has its own ways to say no
        raise ValueError(
            f'transformers {transformers.__version__} cannot build its configuration: {error}'
        ) from error


def refuse_unknown(values: Any) -> None:
    """Refuse what is no depth network that is known, or what would be downloaded.

    Raises:
        ValueError: says which.
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
    """No bars and no advice of transformers while this lasts."""

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
