# SPDX-License-Identifier: Apache-2.0
"""ONNX files of many makes: each runs with the right pre-processing, or is one clear sentence."""

from __future__ import annotations

import os

import numpy as np
import pytest

from depth_perception.cli.main import main
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.weights import WeightsError, load_weights, save_weights
from test.support.onnx_files import FLOAT16, INT64, UINT8, mean_depth, node, onnx, write
from test.support.weights import tiny_info, tiny_network

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
KNOWN = {
    '--size': '96x64',
    '--mean': MEAN,
    '--std': STD,
    '--output': 'metres',
    '--max-depth': 10,
    '--licence': 'MIT',
}
#: An image of the network's size, with another value in each pixel and channel.
PICTURE = np.random.default_rng(1).integers(0, 256, (64, 96, 3), dtype=np.uint8)


def words(options):
    """Return the words of options; None leaves one out."""
    return [
        str(word)
        for name, value in options.items()
        if value is not None
        for word in (name, *(value if isinstance(value, (tuple, list)) else (value,)))
    ]


def imported(source, out, **changes):
    """Import a file with the facts of `KNOWN`, changed; return its exit code."""
    options = KNOWN | {'--' + name.replace('_', '-'): value for name, value in changes.items()}
    return main(['import-model', str(source), '--out', str(out), *words(options)])


def depth_of(path, backend='onnxruntime', rgb=PICTURE):
    return DepthEstimator.load(path, 'cpu', 'fp32', backend).infer(rgb)


def normalised(rgb):
    return 3 + ((rgb / 255 - MEAN) / STD).mean(-1)


NORMALISED = normalised(PICTURE)


@pytest.mark.parametrize('backend', ['openvino', 'onnxruntime'])
@pytest.mark.parametrize(
    'how, changes, expected',
    [
        ({'shape': (1, 64, 96, 3), 'axis': 3}, {}, NORMALISED),
        ({'shape': ('n', 'h', 'w', 3), 'axis': 3}, {}, NORMALISED),
        ({'shape': (1, 3, 64, 'w')}, {}, NORMALISED),
        ({'kind': FLOAT16}, {}, NORMALISED),
        (
            {'kind': UINT8, 'shape': (1, 'h', 'w', 3), 'axis': 3},
            {'mean': None, 'std': None, 'max_depth': 300},
            3 + PICTURE.mean(-1),
        ),
    ],
    ids=['channels last', 'channels last, any size', 'one side fixed', 'float16', 'bytes'],
)
def test_other_kinds_of_input_are_fed_as_they_must(backend, how, changes, expected, tmp_path):
    pytest.importorskip(backend)
    source, out = mean_depth(tmp_path / 'net.onnx', **how), tmp_path / 'net.safetensors'
    assert imported(source, out, **changes) == 0
    found = depth_of(out, backend)
    assert found.dtype == np.float32
    tolerance = 5e-3 if how.get('kind') == FLOAT16 else 1e-4
    np.testing.assert_allclose(found, expected, rtol=tolerance)


def test_weights_in_a_file_beside_are_imported_too(tmp_path, capsys):
    kernel = np.full((1, 3, 1, 1), 1 / 3, np.float32)
    nodes = [node('Conv', 'image kernel', 'mean'), node('Add', 'mean three', 'depth')]
    constants = {'kernel': kernel, 'three': np.array(3, np.float32)}
    how = {'save_as_external_data': True, 'location': 'net.onnx.data', 'size_threshold': 0}
    source = write(tmp_path / 'net.onnx', nodes, constants=constants, **how)
    out = tmp_path / 'net.safetensors'
    assert imported(source, out) == 0
    beside = tmp_path / 'net.onnx.data'
    content = beside.read_bytes()
    beside.unlink()
    np.testing.assert_allclose(depth_of(out), NORMALISED, rtol=1e-4)
    capsys.readouterr()
    assert imported(source, tmp_path / 'b.safetensors') == 2
    assert 'net.onnx.data' in one_sentence(capsys)
    beside.write_bytes(content[:4])
    assert imported(source, tmp_path / 'b.safetensors') == 2
    assert 'cannot be read as ONNX' in one_sentence(capsys)


def one_sentence(capsys):
    text = capsys.readouterr().err
    assert text.count('\n') == 1 and len(text) < 700, text
    return text


def of(nodes, **how):
    return lambda path: write(path, nodes, **how)


def truncated(path):
    content = mean_depth(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def huge(path):
    mean_depth(path)
    os.truncate(path, 3_000_000_000)  # a sparse file


def huge_beside(path):
    nodes = [node('Conv', 'image kernel', 'depth')]
    constants = {'kernel': np.ones((1, 3, 1, 1), np.float32)}
    how = {'save_as_external_data': True, 'location': 'huge.data', 'size_threshold': 0}
    write(path, nodes, constants=constants, **how)
    os.truncate(path.with_name('huge.data'), 3_000_000_000)


RELU = node('Relu', 'image', 'depth')
POOL = node('GlobalAveragePool', 'image', 'pooled')
MEAN_OF = node('ReduceMean', 'image axis', 'mean')
AXIS = {'axis': np.array([1])}
FUZZ = {
    'four at once': (of([RELU], shape=(4, 3, 64, 96)), 'takes 4 images at once'),
    'four channels': (of([RELU], shape=(1, 4, 64, 96)), 'takes (1, 4, 64, 96): it must take one'),
    'no batch': (of([RELU], shape=(3, 64, 96)), 'takes (3, 64, 96): it must take one RGB image'),
    'no shape': (of([RELU], shape=None), 'takes (): it must take one RGB image'),
    'whole numbers': (
        of([node('Cast', 'image', 'depth', to=1)], kind=INT64),
        'takes int64: export it with input of float32, float16 or uint8',
    ),
    'two images': (
        of([node('Add', 'image other', 'depth')], inputs=('image', 'other')),
        'has 2 inputs (image, other): it must take one image alone',
    ),
    'two outputs': (
        of([RELU, node('Neg', 'image', 'sky')], outputs=('depth', 'sky')),
        'say with --output-name which of depth, sky is the depth',
    ),
    'three channels': (of([RELU]), "gives (1, 3, 128, 160) as 'depth': depth is (1, 1, height"),
    'one value': (
        of([POOL, node('ReduceMean', 'pooled axis', 'depth')], constants=AXIS),
        "gives (1, 1, 1, 1) as 'depth': that is no depth for every pixel",
    ),
    'NaN': (
        of([MEAN_OF, node('Abs', 'mean', 'abs'), node('Neg', 'abs', 'negative'),
            node('Sqrt', 'negative', 'depth')], constants=AXIS),
        'gives NaN or infinity',
    ),
    'depth in whole numbers': (
        of([MEAN_OF, node('Cast', 'mean', 'depth', to=INT64)], constants=AXIS),
        'of int64: depth is float32 or float16',
    ),
    'newer operators': (of([MEAN_OF, node('Relu', 'mean', 'depth')], constants=AXIS, opset=99),
                        'till opset'),
    'unknown operator': (of([node('Magic', 'image', 'depth')]), 'No Op registered for Magic'),
    'a size that its axes deny': (
        of([node('Reshape', 'image shape', 'depth')],
           constants={'shape': np.array([1, 1, 64, 288])}),
        'if it takes 96x64 alone, give --resize fixed',
    ),
    'truncated': (truncated, 'cannot be read as ONNX'),
    'empty': (lambda path: path.write_bytes(b''), 'it has no network; is it complete?'),
    'huge': (huge, 'has 3.0 GB with its weights, and at most 2.1 GB can be imported'),
    'huge beside': (huge_beside, 'has 3.0 GB with its weights, and at most 2.1 GB'),
    'a folder': (lambda path: path.mkdir(), 'Is a directory'),
}  # fmt: skip


@pytest.mark.parametrize('make, said', FUZZ.values(), ids=FUZZ)
def test_what_cannot_be_used_is_one_sentence(make, said, tmp_path, capsys):
    source, out = tmp_path / 'net.onnx', tmp_path / 'net.safetensors'
    make(source)
    assert imported(source, out) == 2
    text = one_sentence(capsys)
    assert said in text and 'onnxruntime_src' not in text and not out.exists()


def test_bytes_are_not_normalised_twice(tmp_path, capsys):
    source = mean_depth(tmp_path / 'net.onnx', kind=UINT8)
    assert imported(source, tmp_path / 'net.safetensors') == 2
    assert 'takes bytes (uint8), so it normalises images itself' in one_sentence(capsys)


# A file of settings ------------------------------------------------------------------------

SETTINGS = """\
size: 96x64
mean: [0.4, 0.5, 0.6]
std: [0.2, 0.25, 0.3]
output: metres
max_depth: 1e1
licence: MIT
"""


def settings(tmp_path, text, *more):
    """Import by a file of settings; return the exit code and the file that is written."""
    source, file = mean_depth(tmp_path / 'net.onnx'), tmp_path / 'net.yaml'
    file.write_text(text)
    out = tmp_path / 'net.safetensors'
    return main(
        ['import-model', f'{source}', '--out', f'{out}', '--settings', f'{file}', *more]
    ), out


def test_a_file_of_settings_says_the_same_as_options(tmp_path):
    code, out = settings(tmp_path, SETTINGS)
    assert code == 0
    assert imported(tmp_path / 'net.onnx', tmp_path / 'typed.safetensors') == 0
    assert load_weights(out).checksum == load_weights(tmp_path / 'typed.safetensors').checksum


def test_an_option_counts_more_than_the_file(tmp_path):
    code, out = settings(tmp_path, SETTINGS + 'multiple: 16\n', '--max-depth', '7')
    info = load_weights(out).info
    assert code == 0 and info.max_depth == 7 and info.preparation.multiple == 16


@pytest.mark.parametrize(
    'text, said',
    [
        ('sise: 96x64', "unknown key 'sise': did you mean size?"),
        ('settings: a.yaml', "unknown key 'settings': known are output, max_depth"),
        ('size: 96', 'size: must be WIDTHxHEIGHT in pixels, such as 640x480, got 96'),
        ('name: [a, b]', "name: ['a', 'b'] must be one value"),
        ('mean: 0.5', 'mean: expected 3 arguments'),
        ('std: [0, 1, 1]', 'std: 0 is not above 0'),
        ('mean: [a, 0, 0]', "mean: 'a' is no number"),
        ('output: meters', "output: invalid choice: 'meters'"),
        ('max_depth: -1', 'max_depth: -1 is not above 0 and at most 1000'),
        ('max_depth:', 'max_depth: None is neither text nor a number'),
        ('multiple: 1.5', "multiple: '1.5' is no whole number"),
        ('name: {a: 1}', "name: {'a': 1} is neither text nor a number"),
        ('size: 96x64\nsize: 64x96', 'has the key size twice'),
        ('max-depth: 1\nmax_depth: 2', 'has the key max_depth twice'),
        ('focal_length: 100', '--focal-length and --image-width belong together'),
        ('size: 96x64', 'give --mean, --std, --output, --max-depth, or the same in a file'),
        ('- size', 'must hold lines such as "max_depth: 10"'),
        ('a: [', 'is not YAML'),
    ],
)
def test_a_wrong_key_is_one_sentence(text, said, tmp_path, capsys):
    code, out = settings(tmp_path, text)
    assert said in one_sentence(capsys) and code == 2 and not out.exists()


def test_a_missing_file_of_settings_is_one_sentence(tmp_path, capsys):
    assert imported(tmp_path / 'a.onnx', tmp_path / 'a.safetensors', settings='no.yaml') == 2
    assert 'cannot read --settings no.yaml: No such file' in one_sentence(capsys)


def test_options_of_onnx_files_are_refused_for_folders(tmp_path, capsys):
    assert imported(tmp_path, tmp_path / 'a.safetensors') == 2
    assert '--size is for ONNX files' in one_sentence(capsys)


# This project's own exports ----------------------------------------------------------------


@pytest.fixture(scope='module')
def own(tmp_path_factory):
    """Return weights of a small network, and its exports of any size and of two fixed ones."""
    pytest.importorskip('onnxscript')
    from depth_training.convert.export import export_onnx

    folder = tmp_path_factory.mktemp('own')
    network = tiny_network()
    network.head[2].weight.data *= 150
    save_weights(folder / 'w.safetensors', network, tiny_info())
    for name, height, width, dynamic in (
        ('any', 48, 64, True),
        ('fixed', 48, 64, False),
    ):
        export_onnx(network, folder / f'{name}.onnx', height, width, dynamic, tiny_info())
    double = onnx.load(folder / 'any.onnx')
    for side, length in zip(double.graph.input[0].type.tensor_type.shape.dim, (1, 3, 96, 128)):
        side.dim_value = length
    onnx.save(double, folder / 'double.onnx')
    return folder


def adopted(own, name, *more):
    """Import an export without telling anything about it."""
    out = own / f'{name}.safetensors'
    assert main(['import-model', str(own / f'{name}.onnx'), '--out', str(out), *more]) == 0
    return out


@pytest.mark.parametrize('backend', ['openvino', 'onnxruntime'])
def test_an_own_export_needs_no_description_and_gives_the_same_depth(own, backend):
    pytest.importorskip(backend)
    from depth_perception import CameraModel

    made, plain = (
        DepthEstimator.load(path, 'cpu', 'fp32', way)
        for path, way in ((adopted(own, 'any'), backend), (own / 'w.safetensors', 'torch'))
    )
    for height, width in ((48, 64), (96, 128), (90, 160), (64, 48)):
        rgb = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
        camera = CameraModel.from_field_of_view(width, height, 70.0)
        assert made.network_size(height, width) == plain.network_size(height, width)
        for one in (camera, None):
            np.testing.assert_allclose(made.infer(rgb, one), plain.infer(rgb, one), rtol=1e-4)
    assert made.info.scores == plain.info.scores and made.info.licence == 'Apache-2.0'


def test_an_own_export_of_one_size_gives_the_same_depth(own):
    from depth_perception import CameraModel

    made, plain = (
        DepthEstimator.load(path, 'cpu', 'fp32', way)
        for path, way in ((adopted(own, 'fixed'), 'onnxruntime'), (own / 'w.safetensors', 'torch'))
    )
    rgb = PICTURE[:48, :64].copy()
    camera = CameraModel.from_field_of_view(64, 48, 70.0)
    np.testing.assert_allclose(made.infer(rgb, camera), plain.infer(rgb, camera), rtol=1e-4)


def test_an_own_export_of_another_size_knows_its_focal_length(own):
    """At twice the size, the focal length in pixels of the input is the same as in training."""
    from depth_perception import CameraModel

    info = load_weights(adopted(own, 'double')).info
    estimator = DepthEstimator.load(own / 'double.safetensors', 'cpu', 'fp32', 'onnxruntime')
    assert (info.input_width, info.input_height) == (128, 96)
    assert info.focal_length_at(128) == tiny_info().focal_length_at(64) == 50
    camera = CameraModel.from_matrix(128, 96, [50, 0, 64, 0, 50, 48, 0, 0, 1])
    assert estimator.focal_factor(camera) == pytest.approx(1)


def test_what_the_user_says_of_an_own_export_counts_more(own):
    out = adopted(own, 'any', '--max-depth', '5', '--name', 'mine', '--licence', 'MIT')
    info = load_weights(out).info
    assert (info.max_depth, info.name, info.licence) == (5, 'mine', 'MIT')


def test_an_export_of_a_newer_version_is_one_sentence(own, tmp_path, capsys):
    model = onnx.load(own / 'any.onnx')
    entry = next(one for one in model.metadata_props if one.key == 'depth_perception')
    entry.value = entry.value.replace('"format_version": 1', '"format_version": 99')
    onnx.save(model, tmp_path / 'new.onnx')
    out = tmp_path / 'new.safetensors'
    assert main(['import-model', str(tmp_path / 'new.onnx'), '--out', str(out)]) == 2
    assert 'its format version is 99' in one_sentence(capsys) and not out.exists()


def test_an_onnx_file_as_a_model_names_the_command(own):
    with pytest.raises(WeightsError, match='import it first: depth-perception import-model any'):
        load_weights(own / 'any.onnx')
