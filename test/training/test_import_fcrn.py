# SPDX-License-Identifier: Apache-2.0
"""Laina et al.'s released network: the imported arrays give the output of their graph."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from depth_perception.io.weights import load_weights
from depth_perception.networks import up_projection_decoder
from depth_training import cli

#: Reduced channels of the bridge and of the four up-projections.
WIDTHS = (48, 32, 24, 16, 8)
STAGES = {2: ('abc', 64), 3: ('abcd', 128), 4: ('abcdef', 256), 5: ('abc', 512)}


class Graph:
    """Their TensorFlow graph (models/fcrn.py, models/network.py), transcribed; arrays NHWC.

    With `image` None it only creates arrays.
    """

    def __init__(self, arrays=None):
        self.arrays = {} if arrays is None else arrays
        self.make = arrays is None
        self.rng = np.random.default_rng(0)

    def get(self, path, shape, low=None):
        if self.make:
            value = (
                self.rng.normal(0, 1 / np.sqrt(max(np.prod(shape[:-1]), 1)), shape)
                if low is None
                else self.rng.uniform(low, 1.5, shape)
            )
            self.arrays[path] = value.astype(np.float32)
        return torch.from_numpy(self.arrays[path])

    def conv(self, x, name, side, out, stride=1, pad=None, bias=True):
        height, width = side
        kernel = self.get(f'{name}/weights', (height, width, x.shape[1], out))
        top, bottom, left, right = pad or ((height - 1) // 2,) * 2 + ((width - 1) // 2,) * 2
        x = F.conv2d(
            F.pad(x, (left, right, top, bottom)),
            kernel.permute(3, 2, 0, 1),
            self.get(f'{name}/biases', (out,)) if bias else None,
            stride,
        )
        return x

    def norm(self, x, name):
        scale, offset, mean, variance = (
            self.get(f'{name}/{kind}', (x.shape[1],), low).view(1, -1, 1, 1)
            for kind, low in (('scale', 0.5), ('offset', -0.5), ('mean', -0.5), ('variance', 0.5))
        )
        return (x - mean) / torch.sqrt(variance + 1e-4) * scale + offset

    def block(self, x, stage, letter, width):
        stride = 2 if letter == 'a' and stage > 2 else 1
        name = f'{stage}{letter}_branch'
        side = x
        if letter == 'a':
            side = self.conv(x, f'res{name}1', (1, 1), 4 * width, stride, bias=False)
            side = self.norm(side, f'bn{name}1')
        for part, kernel, out in (('2a', 1, width), ('2b', 3, width), ('2c', 1, 4 * width)):
            x = self.conv(
                x,
                f'res{name}{part}',
                (kernel, kernel),
                out,
                stride if part == '2a' else 1,
                bias=False,
            )
            x = self.norm(x, f'bn{name}{part}')
            x = x if part == '2c' else F.relu(x)
        return F.relu(x + side)

    def unpool(self, x, name, out):
        pads = {'A': (1, 1, 1, 1), 'B': (1, 0, 1, 1), 'C': (1, 1, 1, 0), 'D': (1, 0, 1, 0)}
        sides = {'A': (3, 3), 'B': (2, 3), 'C': (3, 2), 'D': (2, 2)}
        a, b, c, d = (
            self.conv(x, f'layer{name}_Conv{k}', sides[k], out, pad=pads[k]) for k in 'ABCD'
        )
        left, right = (torch.stack(pair, 3).flatten(2, 3) for pair in ((a, b), (c, d)))
        return self.norm(torch.stack((left, right), 4).flatten(3, 4), f'layer{name}_BN')

    def run(self, image):
        x = self.conv(image, 'conv1', (7, 7), 64, 2)
        x = F.relu(self.norm(x, 'bn_conv1'))
        x = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 3, 2)  # SAME, of even sizes
        for stage, (letters, width) in STAGES.items():
            for letter in letters:
                x = self.block(x, stage, letter, width)
        x = self.norm(self.conv(x, 'layer1', (1, 1), up_projection_decoder.WIDTHS[0]), 'layer1_BN')
        for size, out in zip(('2x', '4x', '8x', '16x'), up_projection_decoder.WIDTHS[1:]):
            main = F.relu(self.unpool(x, f'{size}_br1', out))
            main = self.norm(self.conv(main, f'layer{size}_Conv', (3, 3), out), f'layer{size}_BN')
            x = F.relu(main + self.unpool(x, f'{size}_br2', out))
        return self.conv(x, 'ConvPred', (3, 3), 1)


@pytest.fixture
def arrays(monkeypatch):
    monkeypatch.setattr(up_projection_decoder, 'WIDTHS', WIDTHS)
    graph = Graph()
    with torch.inference_mode():
        graph.run(torch.zeros(1, 3, 32, 32))
    return graph.arrays


def imported(file, tmp_path):
    output = tmp_path / 'fcrn.safetensors'
    assert cli.main(['import-weights', 'fcrn', str(file), '--output', str(output)]) == 0
    return load_weights(output)


@pytest.mark.parametrize('form', ['npz', 'safetensors'])
def test_the_imported_network_computes_their_graph(form, arrays, tmp_path):
    # The conversion in docs/reproducing.md, from a dictionary of dictionaries.
    file = tmp_path / f'fcrn.{form}'
    if form == 'npz':
        np.savez(file, **arrays)
    else:
        save_file({name: torch.from_numpy(value) for name, value in arrays.items()}, file)
    loaded = imported(file, tmp_path)
    image = torch.rand(1, 3, 228, 304)
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1) for values in (loaded.info.mean, loaded.info.std)
    )
    with torch.inference_mode():
        expected = Graph(arrays).run(image * 255).clamp_min(0)
        found = loaded.network((image - mean) / std)
    assert found.shape == (1, 1, 128, 160) and expected.max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.max()))
    info = loaded.info
    assert (info.recipe_name, info.test_geometry, info.licence) == (
        'paper_003_laina',
        'laina',
        'BSD-2-Clause',
    )


def test_the_released_pickle_is_refused_and_runs_nothing(tmp_path, capsys):
    np.save(
        tmp_path / 'NYU_ResNet-UpProj.npy', {'conv1': {'weights': np.zeros(3)}}, allow_pickle=True
    )
    (tmp_path / 'bad.npz').write_bytes(pickle.dumps(print))
    np.savez(tmp_path / 'objects.npz', **{'conv1/weights': np.array([{}], dtype=object)})
    np.savez(tmp_path / 'other.npz', **{'conv1/weights': np.zeros((7, 7, 3, 64))})
    for name, said in (
        ('NYU_ResNet-UpProj.npy', 'convert it to .npz as docs/reproducing.md shows'),
        ('bad.npz', 'is refused'),
        ('objects.npz', 'is not an .npz of plain arrays'),
        ('other.npz', 'does not match'),
    ):
        assert (
            cli.main(
                [
                    'import-weights',
                    'fcrn',
                    str(tmp_path / name),
                    '--output',
                    str(tmp_path / 'out.safetensors'),
                ]
            )
            == 1
        ), name
        assert said in capsys.readouterr().err, name
    assert not (tmp_path / 'out.safetensors').exists()
