# SPDX-License-Identifier: Apache-2.0
"""ONNX files of other projects run in the node after import with the facts they lack."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from depth_perception.cli.main import main
from depth_perception.inference.backends.names import BackendError
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.weights import load_weights, save_weights
from depth_perception.ros.conversions.topics import ALWAYS, DEPTH
from test.support.ros import image_array, picture, rgb_image, running_node
from test.support.waiting import wait_until

pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
WEIGHTS = (0.5, 0.25, -0.125)


class Foreign(nn.Module):
    """Depth in closed form, 3 m plus a part of each normalised channel, and a second output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor(WEIGHTS).view(1, 3, 1, 1))
            self.conv.bias.fill_(3.0)

    def forward(self, image):
        return self.conv(image)[:, 0], image.mean((1, 2, 3))


def exported(path, dynamic, channels=3):
    """Return an ONNX file written by plain torch.onnx."""
    network = Foreign().eval() if channels == 3 else nn.Conv2d(channels, 1, 1).eval()
    image = torch.zeros(1, channels, 64, 96)
    axes = {2: torch.export.Dim('h'), 3: torch.export.Dim('w')} if dynamic else None
    names = ['depth', 'mean'] if channels == 3 else ['depth']
    torch.onnx.export(
        network,
        (image,),
        str(path),
        input_names=['rgb'],
        output_names=names,
        dynamic_shapes=(axes,) if dynamic else None,
        dynamo=True,
        verbose=False,
    )
    return path


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('onnx')


@pytest.fixture(scope='module')
def dynamic(folder):
    return exported(folder / 'dynamic.onnx', True)


@pytest.fixture(scope='module')
def fixed(folder):
    return exported(folder / 'fixed.onnx', False)


def words(path, out, **changes):
    """Return the command line; None leaves an option out."""
    options = {
        '--size': ['96x64'],
        '--mean': map(str, MEAN),
        '--std': map(str, STD),
        '--output': ['metres'],
        '--max-depth': ['10'],
        '--output-name': ['depth'],
        '--licence': ['MIT'],
    }
    for name, value in changes.items():
        options['--' + name.replace('_', '-')] = value and [value]
    given = [word for name, values in options.items() if values for word in (name, *values)]
    return ['import-model', str(path), '--out', str(out), *given]


@pytest.fixture(scope='module')
def imported(dynamic, folder):
    path = folder / 'imported.safetensors'
    assert main(words(dynamic, path)) == 0
    return path


@pytest.fixture(scope='module')
def imported_fixed(fixed, folder):
    path = folder / 'imported_fixed.safetensors'
    assert main(words(fixed, path)) == 0
    return path


def expected(rgb):
    normalised = (rgb / 255 - np.array(MEAN)) / np.array(STD)
    return 3 + normalised @ np.array(WEIGHTS)


@pytest.mark.parametrize('backend', ['openvino', 'onnxruntime'])
def test_the_depth_is_that_of_the_file(backend, imported):
    pytest.importorskip(backend)
    estimator = DepthEstimator.load(imported, 'cpu', 'fp32', backend)
    assert estimator.backend == backend
    rgb = picture(1, 96, 64)  # processed at its own size
    np.testing.assert_allclose(estimator.infer(rgb), expected(rgb), rtol=1e-4)
    assert estimator.network_size(200, 100) == (192, 96)  # its aspect ratio, multiples of 32
    grey = np.full((199, 101, 3), 90, np.uint8)
    np.testing.assert_allclose(estimator.infer(grey), expected(grey), rtol=1e-4)


def test_a_file_of_one_size_is_fed_that_size(imported_fixed):
    estimator = DepthEstimator.load(imported_fixed, 'cpu', 'fp32', 'onnxruntime')
    assert estimator.info.preparation.size == 'fixed'
    assert estimator.network_size(480, 480) == (64, 96)
    grey = np.full((199, 101, 3), 90, np.uint8)
    np.testing.assert_allclose(estimator.infer(grey), expected(grey), rtol=1e-4)


def test_the_onnx_file_is_kept_bit_for_bit(imported, tmp_path):
    loaded = load_weights(imported)
    again = save_weights(tmp_path / 'again.safetensors', loaded.network, loaded.info)
    assert again == loaded.checksum and loaded.info.licence == 'MIT'


def test_pytorch_cannot_run_it_and_onnxruntime_runs_nothing_else(imported):
    with pytest.raises(BackendError, match='backend torch cannot run a network from an ONNX file'):
        DepthEstimator.load(imported, 'cpu', backend='torch')
    with pytest.raises(BackendError, match='runs networks imported from ONNX files alone'):
        DepthEstimator.load(None, 'cpu', backend='onnxruntime')


@pytest.mark.parametrize(
    'changes, said',
    [
        ({'size': '96x60'}, 'takes (1, 3, 64, 96) alone: --size 96x60 must be 96x64'),
        ({'resize': 'aspect'}, 'export it with dynamic axes for height and width'),
        ({'output_name': 'deep'}, "has no output 'deep': it has depth, mean"),
        ({'output_name': None}, 'say with --output-name which of depth, mean is the depth'),
        ({'output_name': 'mean'}, "gives (1) as 'mean': depth is (1, 1, height, width)"),
        ({'mean': None, 'max_depth': None}, 'give --mean, --max-depth'),
    ],
)
def test_wrong_metadata_is_one_sentence(changes, said, fixed, tmp_path, capsys):
    out = tmp_path / 'out.safetensors'
    assert main(words(fixed, out, **changes)) == 2
    text = capsys.readouterr().err
    assert said in text and text.count('\n') == 1 and not out.exists()


def test_what_is_no_image_network_is_one_sentence(tmp_path, capsys):
    out = tmp_path / 'out.safetensors'
    four = exported(tmp_path / 'four.onnx', False, channels=4)
    assert main(words(four, out)) == 2
    assert (
        'takes (1, 4, 64, 96): it must take one RGB image (1, 3, height, width)'
        in capsys.readouterr().err.splitlines()[-1]
    )
    (tmp_path / 'text.onnx').write_text('not a network')
    assert main(words(tmp_path / 'text.onnx', out)) == 2
    assert 'cannot be read as ONNX' in capsys.readouterr().err
    assert main(words(tmp_path / 'none.onnx', out)) == 2
    assert 'none.onnx' in capsys.readouterr().err and not out.exists()


def test_it_publishes_every_output_in_the_node(imported, namespace, robot):
    with running_node(
        namespace,
        model_file=str(imported),
        device='cpu',
        precision='fp32',
        max_age=0.0,
        camera_height=0.5,
        edge_threshold=0.0,
    ):
        robot.listen(*ALWAYS)
        camera = robot.camera()
        rgb = picture(3, 96, 64)
        wait_until(
            lambda: camera.send(rgb_image(rgb)) and all(robot.received[topic] for topic in ALWAYS)
        )
        found = image_array(robot.received[DEPTH][-1])
        np.testing.assert_allclose(found, expected(rgb), rtol=1e-3)
