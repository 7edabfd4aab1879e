# SPDX-License-Identifier: Apache-2.0
"""Networks in the Hugging Face layout: imported, they give what transformers gives."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depth_perception.camera.model import CameraModel
from depth_perception.cli.main import main
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.weights import WeightsError, load_weights, save_weights
from test.support.hugging_face import FAMILIES, transformers, write

#: A picture of rooms in the documentation.
PICTURE = Path(__file__).parents[2] / 'docs/images/anchors.jpg'
SIZES = ((240, 320), (97, 131), (211, 150))


@pytest.fixture(scope='module')
def pictures():
    """A real picture at several sizes, RGB."""
    whole = cv2.imread(str(PICTURE))[..., ::-1]
    return [np.ascontiguousarray(cv2.resize(whole[:240, :320], size[::-1])) for size in SIZES]


@pytest.fixture(scope='module')
def folder_of(tmp_path_factory):
    """The folder of a family, written once."""
    made = {}

    def folder(family):
        if family not in made:
            made[family] = write(family, tmp_path_factory.mktemp(family) / 'net')
        return made[family]

    return folder


@pytest.fixture(scope='module')
def file_of(folder_of):
    """The weights file of a family, imported once by the command."""

    def file(family):
        folder = folder_of(family)
        path = folder.parent / 'imported.safetensors'
        if not path.exists():
            assert main(['import-model', str(folder), '--out', str(path)]) == 0
        return path

    return file


@pytest.fixture
def no_network(monkeypatch):
    """Whoever opens a socket fails."""

    def refuse(*_):
        raise AssertionError('a socket was opened')

    monkeypatch.setattr(socket, 'socket', refuse)
    monkeypatch.setattr(socket, 'create_connection', refuse)
    monkeypatch.setattr(socket, 'getaddrinfo', refuse)


def by_transformers(folder, picture):
    """What transformers' own image processor, network and post-processing give."""
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    network = transformers.AutoModelForDepthEstimation.from_pretrained(folder).eval()
    size = picture.shape[:2]
    more = {'source_sizes': [size]} if 'ZoeDepth' in type(processor).__name__ else {}
    with torch.no_grad():
        output = network(**processor(images=picture, return_tensors='pt'))
    found = processor.post_process_depth_estimation(output, target_sizes=[size], **more)
    return found[0]['predicted_depth'].numpy()


@pytest.mark.parametrize('family', FAMILIES)
def test_the_depth_is_that_of_transformers(family, folder_of, file_of, pictures, no_network):
    estimator = DepthEstimator.load(file_of(family), 'cpu', 'fp32', 'torch')
    for picture in pictures:
        expected = by_transformers(folder_of(family), picture)
        found = estimator.infer(picture)
        assert np.ptp(expected) > 1e-3 * abs(expected).max()  # not one value everywhere
        assert abs(found - expected).max() <= 1e-4 * abs(expected).max()


def test_openvino_gives_the_same(file_of, pictures):
    pytest.importorskip('openvino')
    path, square = file_of('depth_anything_metric'), np.ascontiguousarray(pictures[0][:, :240])
    expected = DepthEstimator.load(path, 'cpu', 'fp32', 'torch').infer(square)
    estimator = DepthEstimator.load(path, 'cpu', 'fp32', 'openvino')
    assert estimator.backend == 'openvino'
    assert abs(estimator.infer(square) - expected).max() <= 1e-4 * abs(expected).max()


def test_a_network_that_chooses_by_the_image_is_not_traced(file_of):
    path = file_of('zoedepth_two_heads')
    assert DepthEstimator.load(path, 'cpu').backend == 'torch'
    with pytest.raises(RuntimeError, match='cannot run this network, which chooses'):
        DepthEstimator.load(path, 'cpu', backend='openvino')


@pytest.mark.parametrize('family', ['depth_anything_metric', 'depth_pro'])
def test_a_file_is_read_bit_for_bit(family, folder_of, file_of, tmp_path, no_network):
    loaded = load_weights(file_of(family))
    origin = transformers.AutoModelForDepthEstimation.from_pretrained(folder_of(family))
    tensors = loaded.network.model.state_dict()
    assert tensors.keys() == origin.state_dict().keys()
    assert all(torch.equal(tensors[name], value) for name, value in origin.state_dict().items())
    again = save_weights(tmp_path / 'again.safetensors', loaded.network, loaded.info)
    assert again == loaded.checksum


def test_what_the_files_say_of_themselves(file_of):
    kinds = {
        family: (info.output, info.max_depth)
        for family in FAMILIES
        if (info := load_weights(file_of(family)).info)
    }
    assert kinds == {
        'depth_anything_relative': ('relative_disparity', 100.0),
        'depth_anything_metric': ('metres', 20.0),
        'prompt_depth_anything': ('relative_depth', 100.0),
        'dpt': ('relative_disparity', 100.0),
        'glpn': ('metres', 10.0),
        'zoedepth': ('metres', 10.0),
        'zoedepth_two_heads': ('metres', 20.0),
        'depth_pro': ('reciprocal', 1000.0),
    }


def test_the_focal_length_corrects_only_where_the_training_s_is_known(
    folder_of, file_of, pictures, tmp_path
):
    camera = CameraModel.from_field_of_view(320, 240, 90.0)
    plain = DepthEstimator.load(file_of('glpn'), 'cpu', 'fp32', 'torch')
    assert plain.focal_factor(camera) == 1.0
    known = tmp_path / 'known.safetensors'
    assert (
        main(
            [
                'import-model',
                str(folder_of('glpn')),
                '--out',
                str(known),
                '--focal-length',
                '519',
                '--image-width',
                '640',
            ]
        )
        == 0
    )
    corrected = DepthEstimator.load(known, 'cpu', 'fp32', 'torch')
    assert corrected.focal_factor(camera) == pytest.approx(160 / 519)
    assert np.allclose(
        corrected.infer(pictures[0], camera),
        plain.infer(pictures[0], camera) * 160 / 519,
        rtol=1e-5,
    )


def test_the_licence_comes_from_the_model_card(folder_of, tmp_path, capsys):
    folder = folder_of('glpn')
    (folder / 'README.md').write_text('---\nlicense: cc-by-nc-4.0\n---\n# A network\n')
    path = tmp_path / 'net.safetensors'
    try:
        assert (
            main(
                [
                    'import-model',
                    str(folder),
                    '--out',
                    str(path),
                    '--name',
                    'mine',
                    '--model-card',
                    'https://example.org/card',
                ]
            )
            == 0
        )
    finally:
        (folder / 'README.md').unlink()
    info = load_weights(path).info
    assert (info.licence, info.name) == ('cc-by-nc-4.0', 'mine')
    assert info.model_card == 'https://example.org/card'
    assert 'licence is unknown' not in capsys.readouterr().err


def altered(folder, copy, **changes):
    """A copy of a folder with other entries in config.json; None removes one."""
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    config = json.loads((copy / 'config.json').read_text())
    config = {key: value for key, value in {**config, **changes}.items() if value is not None}
    (copy / 'config.json').write_text(json.dumps(config))
    return copy


def refusal(folder, tmp_path, capsys):
    """The one sentence with which a folder is refused; nothing is written."""
    path = tmp_path / 'refused.safetensors'
    assert main(['import-model', str(folder), '--out', str(path)]) == 2
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and not path.exists()
    return said


def test_what_cannot_be_imported_is_one_sentence(folder_of, tmp_path, capsys):
    folder, copy = folder_of('depth_anything_metric'), tmp_path / 'copy'
    assert 'there is no folder or ONNX file' in refusal(tmp_path / 'none', tmp_path, capsys)
    (tmp_path / 'empty').mkdir()
    assert 'there is no config.json' in refusal(tmp_path / 'empty', tmp_path, capsys)
    altered(folder, copy, model_type='bert')
    assert "its model_type is 'bert'" in refusal(copy, tmp_path, capsys)
    named = altered(
        folder, tmp_path / 'named', backbone='facebook/dinov2-small', backbone_config=None
    )
    assert 'would have to be downloaded' in refusal(named, tmp_path, capsys)
    deeper = altered(folder, tmp_path / 'deeper', fusion_hidden_size=16)
    assert 'cannot be imported' in refusal(deeper, tmp_path, capsys)
    pickled = altered(folder, tmp_path / 'pickled')
    (pickled / 'model.safetensors').rename(pickled / 'pytorch_model.bin')
    assert 'pytorch_model.bin is a pickle' in refusal(pickled, tmp_path, capsys)
    unknown = altered(folder, tmp_path / 'unknown')
    (unknown / 'preprocessor_config.json').write_text('{"image_processor_type": "Other"}')
    assert "for 'Other'" in refusal(unknown, tmp_path, capsys)


def test_missing_tensors_are_refused(folder_of, tmp_path, capsys):
    from safetensors.torch import load_file, save_file

    copy = altered(folder_of('glpn'), tmp_path / 'copy')
    tensors = load_file(copy / 'model.safetensors')
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, copy / 'model.safetensors', {'format': 'pt'})
    assert 'model.safetensors lacks' in refusal(copy, tmp_path, capsys)


def test_the_first_name_of_the_entry_for_metres_is_understood(folder_of, file_of, tmp_path):
    old = altered(
        folder_of('depth_anything_metric'),
        tmp_path / 'old',
        depth_estimation_type=None,
        depth_estimation='metric',
    )
    assert main(['import-model', str(old), '--out', str(tmp_path / 'old.safetensors')]) == 0
    found = load_weights(tmp_path / 'old.safetensors')
    usual = load_weights(file_of('depth_anything_metric'))
    assert (found.info.output, found.info.max_depth) == ('metres', 20.0)
    assert found.network.model.config.to_dict() == usual.network.model.config.to_dict()


def test_damaged_weights_are_named(folder_of, tmp_path, capsys):
    folder = folder_of('glpn')
    whole = (folder / 'model.safetensors').read_bytes()
    damaged = {
        'is truncated or no safetensors file': whole[:-1],
        'truncated or no safetensors file (': whole[:5],
        'is a Git LFS pointer': b'version https://git-lfs.github.com/spec/v1\noid sha256:00\n',
    }
    for number, (said, content) in enumerate(damaged.items()):
        copy = altered(folder, tmp_path / f'copy{number}')
        (copy / 'model.safetensors').write_bytes(content)
        told = refusal(copy, tmp_path, capsys)
        assert said in told and f'{copy}/model.safetensors' in told
    own = altered(folder, tmp_path / 'own')
    assert main(['import-model', str(own), '--out', str(own / 'model.safetensors')]) == 2
    assert 'is a file of the network to import' in capsys.readouterr().err
    assert (own / 'model.safetensors').read_bytes() == whole


def test_a_folder_as_a_weights_file_is_told_how_to_import_it(folder_of):
    with pytest.raises(WeightsError, match='import-model FOLDER'):
        load_weights(folder_of('glpn'))


def test_who_reads_all_attributes_is_not_warned_of_a_loss(file_of, monkeypatch):
    said = []
    logger = transformers.modeling_utils.logger
    monkeypatch.setattr(logger, 'warning_once', said.append)
    network = load_weights(file_of('depth_anything_metric')).network
    for module in network.modules():
        getattr(module, 'loss_function', None)  # as a tracer does
    assert said == []


def test_predict_names_no_field_of_view_where_the_training_s_is_unknown(file_of, tmp_path, capsys):
    words = ['--device', 'cpu', '--backend', 'torch', '--out', str(tmp_path / 'out')]
    assert main(['predict', str(PICTURE), '--model', str(file_of('glpn')), *words]) == 0
    said = capsys.readouterr().err
    assert 'as the network gives them: for which field of view is not known' in said, said
    assert '60 degrees' not in said


def test_predict_refuses_what_gives_no_metres(file_of, tmp_path, capsys):
    assert (
        main(
            [
                'predict',
                str(PICTURE),
                '--model',
                str(file_of('dpt')),
                '--device',
                'cpu',
                '--backend',
                'torch',
                '--out',
                str(tmp_path / 'out'),
            ]
        )
        == 2
    )
    assert 'gives relative_disparity, not metres' in capsys.readouterr().err


def test_without_transformers_it_is_one_sentence(file_of, monkeypatch):
    path = file_of('glpn')
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(WeightsError, match=r'pip install "depth_perception\[hub\]"'):
        load_weights(path)
