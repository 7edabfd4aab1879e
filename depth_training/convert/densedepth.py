# SPDX-License-Identifier: Apache-2.0
"""Import DenseDepth's published Keras weights, `nyu.h5` (paper 004)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from depth_training.convert.reading import ForeignError, State, fill

if TYPE_CHECKING:
    import numpy as np

#: Keras adds 1.001e-5 to the variance, PyTorch 1e-5: the difference is added to the weights' own.
EPSILON_DIFFERENCE = 1.001e-5 - 1e-5
_KINDS = {
    'kernel': 'weight',
    'bias': 'bias',
    'gamma': 'weight',
    'beta': 'bias',
    'moving_mean': 'running_mean',
    'moving_variance': 'running_var',
}
#: Keras's dense blocks are conv2 to conv5; all but the last end in a transition.
_LAYERS = {
    'conv1/conv': 'encoder.body.conv0',
    'conv1/bn': 'encoder.body.norm0',
    # Keras 3 does not allow slashes.
    'conv1_conv': 'encoder.body.conv0',
    'conv1_bn': 'encoder.body.norm0',
    'bn': 'encoder.body.norm5',
    'conv2': 'bridge',
    'conv3': 'head',
    **{
        f'pool{i}_{kind}': f'encoder.body.transition{i - 1}.{name}'
        for i in (2, 3, 4)
        for kind, name in (('bn', 'norm'), ('conv', 'conv'))
    },
    **{
        f'up{i}_conv{letter}': f'stages.{i - 1}.{name}'
        for i in (1, 2, 3, 4)
        for letter, name in (('A', 'first'), ('B', 'second'))
    },
}
_DENSE = {'0_bn': 'norm1', '1_conv': 'conv1', '1_bn': 'norm2', '2_conv': 'conv2'}


def read_keras(file: str | Path) -> dict[str, np.ndarray]:
    """Read the arrays of a Keras HDF5 file by name `layer/kind`, such as `conv1/bn/gamma`.

    Raises:
        ForeignError: the file is not a Keras HDF5 file.
        OSError: the file cannot be read.
    """
    import h5py

    if not h5py.is_hdf5(file):
        raise ForeignError(f'{file} is not an HDF5 file')
    with h5py.File(file, 'r') as content:
        layers = content.get('model_weights', content)
        if 'layer_names' not in layers.attrs:
            raise ForeignError(f'{file} is an HDF5 file, but not of a Keras network')
        return {
            f'{layer}/{_kind(weight)}': layers[layer][weight][()]
            for layer in _texts(layers.attrs['layer_names'])
            for weight in _texts(layers[layer].attrs['weight_names'])
        }


def _texts(values: Any) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _kind(weight: str) -> str:
    """Return the kind of a weight: `conv1/bn/gamma:0` -> `gamma`."""
    return weight.rpartition('/')[2].partition(':')[0]


def fill_densedepth(network: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Fill `densedepth` from arrays of Keras layers.

    Raises:
        ForeignError: they belong to another network, such as the half-width default of its code.
    """
    state: State = {}
    for path, array in arrays.items():
        layer, _, kind = path.rpartition('/')
        state[f'{_our_layer(layer)}.{_KINDS.get(kind, kind)}'] = _tensor(array, kind)
    fill(network, state, "DenseDepth's checkpoint")


def _our_layer(layer: str) -> str:
    if match := re.fullmatch(r'conv(\d)_block(\d+)_(.+)', layer):
        block, number, part = int(match[1]) - 1, match[2], _DENSE.get(match[3], match[3])
        return f'encoder.body.denseblock{block}.denselayer{number}.{part}'
    return _LAYERS.get(layer, layer)


def _tensor(array: np.ndarray, kind: str) -> Tensor:
    import numpy as np

    if kind == 'kernel' and array.ndim == 4:
        array = array.transpose(3, 2, 0, 1)  # height, width, in, out -> out, in, height, width
    if kind == 'moving_variance':
        array = array.astype(np.float64) + EPSILON_DIFFERENCE
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
