# SPDX-License-Identifier: Apache-2.0
"""Import Laina et al.'s released FCRN, `NYU_ResNet-UpProj.npy`, unpickled by the user.

The file is a pickle, which can run code when loaded and is therefore refused. `docs/reproducing.md`
has the lines that convert it to an .npz of plain arrays, named `layer/kind` as in its dictionary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from depth_perception.reading import refuse_device
from depth_training.convert.reading import ForeignError, State, fill, read_state

#: FCRN adds 1e-4 to the variance, PyTorch 1e-5: the difference is added to the variance itself.
EPSILON_DIFFERENCE = 1e-4 - 1e-5
_BLOCKS = {2: 'abc', 3: 'abcd', 4: 'abcdef', 5: 'abc'}
_PARTS = {
    'branch2a': ('conv1', 'bn1'),
    'branch2b': ('conv2', 'bn2'),
    'branch2c': ('conv3', 'bn3'),
    'branch1': ('downsample.0', 'downsample.1'),
}
_PLACES = {'A': 'even_even', 'B': 'odd_even', 'C': 'even_odd', 'D': 'odd_odd'}
_KINDS = {
    'weights': 'weight',
    'biases': 'bias',
    'scale': 'weight',
    'offset': 'bias',
    'mean': 'running_mean',
    'variance': 'running_var',
}


def read_arrays(file: str | Path) -> State:
    """Read arrays by `layer/kind` from an .npz or safetensors file.

    Raises:
        ForeignError: the file is neither, or contains anything but plain numbers.
        OSError: the file cannot be read.
    """
    import numpy as np

    refuse_device(file)
    with open(file, 'rb') as content:
        start = content.read(9)
    if start[:6] == b'\x93NUMPY':
        raise ForeignError(
            f'{file} is a pickle inside an .npy, which can run code when it is '
            'loaded: convert it to .npz as docs/reproducing.md shows'
        )
    if start[:2] != b'PK':
        return read_state(file)
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {
                name: torch.from_numpy(np.ascontiguousarray(arrays[name], np.float32))
                for name in arrays.files
            }
    except (ValueError, KeyError, OSError, TypeError) as error:
        raise ForeignError(f'{file} is not an .npz of plain arrays ({error})') from error


def fill_fcrn(network: nn.Module, arrays: Mapping[str, Tensor]) -> None:
    """Fill `fcrn` from arrays by Laina et al.'s names.

    Raises:
        ForeignError: they belong to another network.
    """
    modules, state = dict(_modules()), {}
    for path, array in arrays.items():
        layer, _, kind = path.rpartition('/')
        name = f'{modules.get(layer, layer)}.{_KINDS.get(kind, kind)}'
        state[name] = _laid_out(array, kind)
    # The bias of the first convolution is folded into the mean of the following norm.
    bias = state.pop('encoder.body.conv1.bias', None)
    mean = state.get('encoder.body.bn1.running_mean')
    if bias is not None and mean is not None and bias.shape == mean.shape:
        state['encoder.body.bn1.running_mean'] = mean - bias
    fill(network, state, "Laina et al.'s checkpoint")


def _modules() -> Iterator[tuple[str, str]]:
    """Yield pairs of their layer names and our module names."""
    yield from (
        ('conv1', 'encoder.body.conv1'),
        ('bn_conv1', 'encoder.body.bn1'),
        ('layer1', 'decoder.bridge.0'),
        ('layer1_BN', 'decoder.bridge.1'),
        ('ConvPred', 'decoder.head'),
    )
    for stage, letters in _BLOCKS.items():
        for number, letter in enumerate(letters):
            for part, ours in _PARTS.items():
                for kind, name in zip(('res', 'bn'), ours):
                    yield (
                        f'{kind}{stage}{letter}_{part}',
                        f'encoder.body.layer{stage - 1}.{number}.{name}',
                    )
    for number, size in enumerate(('2x', '4x', '8x', '16x')):
        up = f'decoder.ups.{number}'
        yield from ((f'layer{size}_Conv', f'{up}.main.3'), (f'layer{size}_BN', f'{up}.main.4'))
        for branch, name in (('br1', 'main'), ('br2', 'side')):
            yield f'layer{size}_{branch}_BN', f'{up}.{name}.1'
            for letter, place in _PLACES.items():
                yield f'layer{size}_{branch}_Conv{letter}', f'{up}.{name}.0.{place}'


def _laid_out(array: Tensor, kind: str) -> Tensor:
    if kind == 'weights' and array.dim() == 4:
        array = array.permute(3, 2, 0, 1)  # height, width, in, out -> out, in, height, width
    if kind == 'variance':
        array = (array.double() + EPSILON_DIFFERENCE).float()
    return array.contiguous()
