# SPDX-License-Identifier: Apache-2.0
"""Exports compute the same as the network, with random weights and BatchNorm statistics."""

from __future__ import annotations

import pytest
import torch

from depth_perception.io.onnx_file import METADATA_KEY
from depth_perception.io.weights import load_weights, save_weights
from depth_perception.networks import create_network
from depth_perception.networks.up_projection_decoder import UpProjectionDecoder
from depth_training.commands import export_parser
from depth_training.convert.export import (
    ExportError,
    export_onnx,
    export_program,
    relative_error,
    run,
)
from test.support.weights import tiny_info

needs_onnx = pytest.importorskip


def randomised(module):
    torch.manual_seed(3)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if name.endswith('running_var'):
                value.uniform_(0.5, 2.0)
            elif value.is_floating_point():
                value.add_(0.05 * torch.randn_like(value))
    return module.eval()


def network(name):
    arguments = {'encoder': 'test_efficientnet'} if name.startswith('efficientnet') else {}
    return randomised(create_network(name, **arguments))


class Decoder(torch.nn.Module):
    """The shared decoder on pooled images, to export up-projections without a ResNet."""

    def __init__(self, unpooling):
        super().__init__()
        self.decoder = UpProjectionDecoder((3,) * 5, 'concat_1x1', True, unpooling=unpooling)

    def forward(self, image):
        return self.decoder([torch.nn.functional.avg_pool2d(image, 2**i) for i in range(1, 6)])


@pytest.mark.parametrize('dynamic', [False, True])
@pytest.mark.parametrize('name', ['efficientnet_sff', 'efficientnet_unet', 'cnn_transpose', 'cnn'])
def test_onnx_equals_the_network(name, dynamic, tmp_path):
    needs_onnx('onnxruntime'), needs_onnx('onnxscript')
    made, file = network(name), tmp_path / 'network.onnx'
    export_onnx(made, file, 64, 96, dynamic)
    assert relative_error(file, made, torch.randn(1, 3, 64, 96)) <= 1e-5
    if dynamic:
        assert relative_error(file, made, torch.randn(3, 3, 96, 160)) <= 1e-5
        assert relative_error(file, made, torch.randn(1, 3, 77, 103)) <= 1e-5
    assert [path.name for path in tmp_path.iterdir()] == ['network.onnx']


def test_the_bundled_network_with_open_sizes_has_named_dimensions(tmp_path):
    """Its padding depends on the size, which takes torch.export minutes to analyse."""
    needs_onnx('onnxruntime')
    onnx, loaded, file = needs_onnx('onnx'), load_weights(), tmp_path / 'network.onnx'
    export_onnx(loaded.network, file, 64, 96, dynamic=True, info=loaded.info)
    model = onnx.load(file)
    names = [
        [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (model.graph.input[0], model.graph.output[0])
    ]
    assert names == [['batch', 3, 'height', 'width'], ['batch', 1, 'depth_height', 'depth_width']]
    assert loaded.info.network in {p.key: p.value for p in model.metadata_props}[METADATA_KEY]
    assert relative_error(file, loaded.network, torch.randn(2, 3, 61, 45)) <= 1e-5


@pytest.mark.parametrize(
    'more, said',
    [
        (['--format', 'onnx', '--half'], '--half is only for safetensors: onnx is checked'),
        (['--format', 'program', '--half'], '--half is only for safetensors: program is'),
        (['--format', 'safetensors', '--dynamic'], '--dynamic is for onnx and program'),
    ],
)
def test_an_option_without_effect_is_refused(more, said, tmp_path, capsys):
    save_weights(tmp_path / 'w.safetensors', network('efficientnet_sff'), tiny_info())
    assert command(tmp_path / 'w.safetensors', '--output', tmp_path / 'x', *more) == 1
    assert said in capsys.readouterr().err and not (tmp_path / 'x').exists()


def test_onnx_of_the_fast_up_projections_equals_the_network(tmp_path):
    needs_onnx('onnxruntime'), needs_onnx('onnxscript')
    made, file = randomised(Decoder('fast')), tmp_path / 'network.onnx'
    export_onnx(made, file, 64, 64)
    assert relative_error(file, made, torch.randn(1, 3, 64, 64)) <= 1e-5


@pytest.mark.parametrize('dynamic', [False, True])
def test_program_equals_the_network(dynamic, tmp_path):
    made, file = network('efficientnet_sff'), tmp_path / 'network.pt2'
    export_program(made, file, 64, 96, dynamic)
    image = torch.randn(2, 3, 96, 64) if dynamic else torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(
            torch.export.load(file).module()(image), made(image), rtol=1e-5, atol=1e-5
        )


def test_the_bundled_network_is_a_program_of_any_multiple_of_32(tmp_path):
    """Its padding depends on the size, which would take torch.export minutes to analyse."""
    made, file = load_weights().network, tmp_path / 'network.pt2'
    before = [type(module) for module in made.modules()]
    export_program(made, file, 60, 90, dynamic=True)
    program = torch.export.load(file).module()
    with torch.inference_mode():
        for size in ((1, 3, 64, 96), (3, 3, 96, 64)):
            image = torch.randn(*size)
            torch.testing.assert_close(program(image), made(image), rtol=1e-5, atol=1e-5)
        with pytest.raises(AssertionError, match='Guard failed'):
            program(torch.randn(1, 3, 72, 96))
    assert [type(module) for module in made.modules()] == before


def test_onnx_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    needs_onnx('onnxruntime'), needs_onnx('onnxscript')
    monkeypatch.setattr('depth_training.convert.export.relative_error', lambda *_: float('nan'))
    with pytest.raises(ExportError, match='is not written'):
        export_onnx(network('cnn'), tmp_path / 'network.onnx', 16, 16)
    assert not list(tmp_path.iterdir())


def command(*arguments):
    return run(export_parser().parse_args([str(argument) for argument in arguments]))


def test_command_writes_onnx_and_says_the_error(tmp_path, capsys):
    needs_onnx('onnxruntime'), needs_onnx('onnxscript')
    save_weights(tmp_path / 'w.safetensors', network('efficientnet_sff'), tiny_info())
    output = tmp_path / 'w.onnx'
    assert command(tmp_path / 'w.safetensors', '--output', output) == 0
    assert 'relative error' in capsys.readouterr().out and output.stat().st_size > 100_000
    import onnxruntime

    model = onnxruntime.InferenceSession(output).get_modelmeta()
    assert '"network": "efficientnet_sff"' in model.custom_metadata_map[METADATA_KEY]


def test_command_writes_the_nodes_file_bit_for_bit(tmp_path):
    made = network('efficientnet_sff')
    save_weights(tmp_path / 'w.safetensors', made, tiny_info())
    output = tmp_path / 'again.safetensors'
    assert command(tmp_path / 'w.safetensors', '--output', output, '--format', 'safetensors') == 0
    assert all(
        torch.equal(value, made.state_dict()[name])
        for name, value in load_weights(output).network.state_dict().items()
    )


def test_a_failed_export_leaves_nothing_behind(tmp_path, capsys):
    save_weights(tmp_path / 'w.safetensors', network('efficientnet_sff'), tiny_info())
    missing = tmp_path / 'missing' / 'w.pt2'
    assert command(tmp_path / 'w.safetensors', '--output', missing, '--format', 'program') == 1
    assert capsys.readouterr().err.count('\n') == 1
    assert command(tmp_path / 'none.safetensors', '--output', tmp_path / 'x') == 1
    assert [path.name for path in tmp_path.iterdir()] == ['w.safetensors']


@pytest.mark.parametrize(
    'name, words, said',
    [
        (
            'w.safetensors',
            ('--format', 'onnx'),
            'has the suffix of safetensors, but --format is onnx',
        ),
        (
            'w.pt2',
            ('--format', 'safetensors'),
            'has the suffix of program, but --format is safetensors',
        ),
        ('w.xyz', (), 'is unknown: end its name in'),
    ],
)
def test_a_file_of_one_format_under_the_name_of_another_is_refused(
    name, words, said, tmp_path, capsys
):
    assert command('default', '--output', tmp_path / name, *words) == 1
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_name_says_the_format(tmp_path):
    save_weights(tmp_path / 'w.safetensors', network('efficientnet_sff'), tiny_info())
    assert command(tmp_path / 'w.safetensors', '--output', tmp_path / 'a.safetensors') == 0
    assert load_weights(tmp_path / 'a.safetensors').info.network == 'efficientnet_sff'
