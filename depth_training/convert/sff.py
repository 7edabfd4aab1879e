# SPDX-License-Identifier: Apache-2.0
"""Import state dicts of paper 001's network built on GLPDepth's classes (Kim et al. 2022).

`encoder` is timm's EfficientNet, complete or as features; `decoder.bot_conv` and
`decoder.skip_conv1` to 3 are the 1x1 reductions from deep to shallow, `decoder.fusion1` to 4 the
selective feature fusions, `last_layer_depth` the head. GLPDepth's own network has another encoder
(MiT-b4) and three fusions of 64 channels; it is refused, since no paper here uses it.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from depth_training.convert.reading import fill
from depth_training.convert.renaming import rename

#: GLPDepth's three named parts of a fusion, to their indices in our sequence.
_FUSION = {'conv1.0': '0', 'conv1.1': '1', 'conv2.0': '3', 'conv2.1': '4', 'conv3': '6'}
_REDUCTIONS = ('bot_conv', 'skip_conv1', 'skip_conv2', 'skip_conv3')
_MODULES = {
    'encoder': 'encoder.body',
    'last_layer_depth': 'head',
    **{f'decoder.{name}': f'stages.{i}.reduce' for i, name in enumerate(_REDUCTIONS)},
    **{
        f'decoder.fusion{i + 1}.{part}': f'stages.{i}.fuse.attention.{place}'
        for i in range(4)
        for part, place in _FUSION.items()
    },
}
#: Layers of a complete EfficientNet behind the last feature.
_UNUSED = ('encoder.conv_head.', 'encoder.bn2.', 'encoder.classifier.')


def fill_sff(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Fill `efficientnet_sff` from a state dict with GLPDepth's names.

    Raises:
        ForeignError: the tensors belong to another network, such as GLPDepth's own.
    """
    used = {name: value for name, value in state.items() if not name.startswith(_UNUSED)}
    fill(network, rename(used, _MODULES), "the checkpoint in GLPDepth's naming")
