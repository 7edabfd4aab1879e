# SPDX-License-Identifier: Apache-2.0
"""Predictions in files, and networks of relative depth, by every protocol."""

from __future__ import annotations

import json

import cv2
import numpy as np
import OpenEXR
import pytest

from depth_training import cli
from depth_training.data import open_dataset
from depth_training.evaluate.alignment import aligned
from depth_training.evaluate.protocols import KITTI, PROTOCOLS
from test.support import layouts

EVERY_PROTOCOL = (*PROTOCOLS, *KITTI, 'whole_frame')
SIZE = (48, 64)
#: Pictures of each scene.
PICTURES = 3


def smooth(index: int) -> np.ndarray:
    """A sloping truth of 1 to 6 m in whole millimetres, with a hole."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    depth = 1 + 0.05 * columns + 0.02 * rows + 0.3 * np.sin(rows / 5 + index)
    depth = np.round(depth, 3).astype(np.float32)
    depth[20:24, 30:33] = 0
    return depth


@pytest.fixture
def data(tmp_path):
    """Pairs of the layout `sync`, in two scenes with the same names of pictures."""
    for scene in ('kitchen', 'lab'):
        for index in range(PICTURES):
            folder = tmp_path / 'data' / scene
            layouts.write(
                folder / f'rgb_{index:05d}.jpg', layouts.encode('.jpg', layouts.scene(index)[0])
            )
            layouts.write(
                folder / f'sync_depth_{index:05d}.png', layouts.millimetres(smooth(index))
            )
    return tmp_path / 'data'


def exr(file, channels):
    header = {'compression': OpenEXR.ZIP_COMPRESSION, 'type': OpenEXR.scanlineimage}
    OpenEXR.File(header, channels).write(str(file))


def write(file, values):
    """Write values in the form that the file's suffix says."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == '.npy':
        np.save(file, values)
    elif file.suffix == '.exr':
        exr(file, {'Z': np.ascontiguousarray(values, np.float32)})
    else:
        cv2.imwrite(str(file), np.round(values).astype(np.uint16))


def stored(data, folder, suffix, change=lambda depth: depth):
    """Write what `change` makes of each truth, under the name of its picture."""
    pairs = open_dataset(data, 'all')
    for index in range(len(pairs)):
        sample = pairs[index]
        write(folder / f'{sample.id}{suffix}', change(sample.depth))
    return folder


def run(data, *words):
    return cli.main(
        ['evaluate', '--data', str(data), '--split', 'all', '--device', 'cpu', *map(str, words)]
    )


def judged(capsys, data, folder, *words):
    """The results of all protocols."""
    results = []
    for protocol in EVERY_PROTOCOL:
        options = ('--predictions', folder, '--protocol', protocol, '--json', *words)
        assert run(data, *options) == 0
        results += json.loads(capsys.readouterr().out)
    assert [result['protocol'] for result in results] == list(EVERY_PROTOCOL)
    return results


def is_perfect(result):
    scores = result['scores']
    return scores['AbsRel'] < 2e-6 and scores['RMSE'] < 1e-5 and scores['delta1'] == 1


@pytest.mark.parametrize('suffix, factor', [('.png', 1000), ('.npy', 1), ('.exr', 1)])
def test_the_truth_as_files_scores_perfectly(suffix, factor, data, tmp_path, capsys):
    folder = stored(data, tmp_path / 'mine', suffix, lambda depth: depth * factor)
    results = judged(capsys, data, folder)
    assert all(map(is_perfect, results))
    assert all(result['counts']['images'] == 2 * PICTURES for result in results)
    assert results[0]['weights']['origin'] == 'predictions'
    assert results[0]['weights']['name'] == 'mine'
    assert 'no test-time augmentation' in results[EVERY_PROTOCOL.index('densedepth')]['description']


def disparity(depth):
    known = np.maximum(depth, 0.5)
    return (1 / known - 0.07) / 0.003


@pytest.mark.parametrize(
    'kind, suffix, change',
    [
        ('metres', '.npy', lambda depth: 0.4 * depth + 1.3),
        ('relative_depth', '.exr', lambda depth: 31 * depth - 8),
        ('relative_disparity', '.npy', disparity),
    ],
)
def test_an_affine_distortion_is_forgiven_by_scale_and_shift_alone(
    kind, suffix, change, data, tmp_path, capsys
):
    folder = stored(data, tmp_path / 'mine', suffix, change)
    words = ('--prediction-kind', kind, '--align')
    for result in judged(capsys, data, folder, *words, 'scale-shift'):
        assert is_perfect(result), result
        assert 'scale and shift fitted' in result['description']
        assert 'least squares of the ' in result['note'] and 'negative' not in result['note']
    assert not any(map(is_perfect, judged(capsys, data, folder, *words, 'median')))


@pytest.mark.parametrize(
    'kind, change',
    [
        ('metres', lambda depth: 0.4 * depth),
        ('relative_depth', lambda depth: 300 * depth),
        ('relative_disparity', lambda depth: 1e-4 / np.maximum(depth, 0.5)),
    ],
)
def test_a_common_factor_is_forgiven_by_the_median(kind, change, data, tmp_path, capsys):
    folder = stored(data, tmp_path / 'mine', '.npy', change)
    words = ('--prediction-kind', kind, '--align', 'median')
    assert all(map(is_perfect, judged(capsys, data, folder, *words)))


def test_near_and_far_swapped_is_said(data, tmp_path, capsys):
    folder = stored(data, tmp_path / 'mine', '.npy', disparity)
    words = ('--prediction-kind', 'relative_depth', '--align', 'scale-shift')
    result = judged(capsys, data, folder, *words)[0]
    assert 'the factor of 6 is negative' in result['note'] and not is_perfect(result)


def test_a_name_without_its_folder_will_do_if_it_is_one_picture_s(data, tmp_path, capsys):
    folder = tmp_path / 'mine'
    for index in range(PICTURES):
        write(folder / f'rgb_{index:05d}.npy', smooth(index))
    words = ('--predictions', folder, '--protocol', 'whole_frame')
    assert run(data / 'kitchen', *words, '--json') == 0
    assert is_perfect(json.loads(capsys.readouterr().out)[0])
    assert refusal(capsys, data, *words) == (
        f'depth_training: {folder}/rgb_00000.npy would be the prediction for both '
        'kitchen/rgb_00000 and lab/rgb_00000: name the files like the pictures with their folders\n'
    )


def refusal(capsys, data, *words):
    """The one sentence with which a request is refused."""
    capsys.readouterr()
    assert run(data, *words) == 1
    said = capsys.readouterr()
    sentence = said.err.splitlines(keepends=True)[-1]
    assert not said.out and sentence.startswith('depth_training: '), said.err
    return sentence


def spoilt(index, value):
    def change(depth):
        depth = depth.copy()
        depth[index] = value
        return depth

    return change


@pytest.mark.parametrize(
    'suffix, change, said',
    [
        ('.npy', lambda d: d[::2, ::2], 'is 32x24, its picture 64x48: resize'),
        ('.npy', spoilt((3, 5), np.nan), 'NaN or infinite in 1 of '),
        ('.exr', spoilt((3, 5), np.inf), 'row 3, column 5: write a number for every pixel'),
        ('.npy', lambda d: d * 1000, 'likely 1000 (millimetres), or confirm with'),
        ('.png', lambda d: d * 256, 'likely 256 (KITTI), or confirm with --prediction-scale 1000'),
        ('.png', lambda d: d * 5000, 'likely 5000 (TUM RGB-D)'),
        ('.npy', lambda d: d[..., None].repeat(3, 2), 'not a one-channel depth image'),
        ('.npy', lambda d: d.astype(np.uint8), '8 bits per pixel, which cannot be millimetres'),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(suffix, change, said, data, tmp_path, capsys):
    folder = stored(data, tmp_path / 'mine', suffix, change)
    assert said in refusal(capsys, data, '--predictions', folder, '--protocol', 'whole_frame')


def test_a_confirmed_unit_is_taken(data, tmp_path, capsys):
    folder = stored(data, tmp_path / 'mine', '.png', lambda depth: depth * 5000)
    assert all(map(is_perfect, judged(capsys, data, folder, '--prediction-scale', 5000)))
    wrong = judged(capsys, data, folder, '--prediction-scale', 1000)[-1]
    assert wrong['scores']['AbsRel'] > 0.5


def test_a_doubtful_unit_of_few_pictures_is_noted(data, tmp_path, capsys):
    folder = stored(data, tmp_path / 'mine', '.png', lambda depth: depth * 5000)
    results = judged(capsys, data, folder, '--limit', 2)
    assert 'the predictions are 5 times the truth: is their unit right' in results[-1]['note']


def test_requests_that_contradict_each_other_are_one_sentence(data, tmp_path, capsys):
    folder = stored(data, tmp_path / 'mine', '.npy', disparity)
    given = ('--predictions', folder)
    relative = (*given, '--prediction-kind', 'relative_disparity')
    assert f'{folder} gives relative_disparity, not metres: add --align' in refusal(
        capsys, data, *relative
    )
    assert '--prediction-scale is for metres' in refusal(
        capsys, data, *relative, '--prediction-scale', 1000
    )
    assert 'nothing to evaluate: give --weights FILE' in refusal(capsys, data)
    assert 'give one of them' in refusal(capsys, data, *given, '--json', '--markdown')
    assert '--data names 2' in refusal(capsys, data, '--data', data, data / 'lab', *given)
    assert 'no such folder; give a folder' in refusal(capsys, data, '--predictions', folder / 'no')
    photo = next(data.rglob('*.png'))
    assert f'{photo}: it is a file; give a folder with NAME.png' in refusal(
        capsys, data, '--predictions', photo
    )
    write(folder / 'lab/rgb_00001.png', smooth(1) * 1000)
    assert 'are for the same picture: remove one' in refusal(
        capsys, data, *relative, '--align', 'median'
    )
    for file in folder.glob('lab/rgb_00001.*'):
        file.unlink()
    assert 'no prediction for the picture lab/rgb_00001: there is no rgb_00001 with' in refusal(
        capsys, data, *relative, '--align', 'median'
    )


def test_an_exr_file_has_one_depth(tmp_path):
    from depth_training.data import DataError
    from depth_training.data.depth_files import read_depth

    depth = smooth(0)
    exr(tmp_path / 'grey.exr', {name: depth for name in 'RGB'})
    exr(tmp_path / 'view.exr', {'Z': depth, 'R': depth * 2, 'G': depth, 'B': depth})
    exr(tmp_path / 'rgb.exr', {'R': depth * 2, 'G': depth, 'B': depth})
    layouts.write(tmp_path / 'no.exr', b'text')
    for name in ('grey', 'view'):
        np.testing.assert_array_equal(read_depth(tmp_path / f'{name}.exr', 1.0), depth)
    with pytest.raises(DataError, match='none of which is clearly depth'):
        read_depth(tmp_path / 'rgb.exr', 1.0)
    with pytest.raises(DataError, match='not an OpenEXR file'):
        read_depth(tmp_path / 'no.exr', 1.0)


def test_what_has_no_truth_or_no_number_does_not_move_the_alignment():
    truth = np.array([1, 2, 4, 0, 0], np.float32)
    for unknown in (np.nan, np.inf, 1e6):
        predicted = np.array([12, 22, 42, 7, unknown], np.float32)
        depth, factor = aligned('scale-shift', 'relative_depth', predicted, truth)
        np.testing.assert_allclose(depth[:4], [1, 2, 4, 0.5], rtol=1e-6)
        assert factor == pytest.approx(0.1)
    flat = aligned('scale-shift', 'relative_disparity', np.full(3, 7, np.float32), truth[:3])[0]
    np.testing.assert_allclose(flat, 1 / np.mean(1 / truth[:3]), rtol=1e-6)
    for values in ([0, 0, 0], [np.nan] * 3):
        assert aligned('median', 'relative_depth', np.array(values, np.float32), truth[:3])[1] == 1
