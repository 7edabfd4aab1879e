# SPDX-License-Identifier: Apache-2.0
"""`depth-perception predict` on real files: its results, messages and exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_perception.camera.file import read_camera, read_camera_file
from depth_perception.camera.model import CameraError, CameraModel
from depth_perception.camera.rectification import Rectifier
from depth_perception.cli.main import main
from depth_perception.cli.results import find, named
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.image_files import ImageError, read_image, read_photo
from depth_perception.io.video_files import VideoReader
from depth_perception.io.weights import save_weights
from test.support.ply import read_ply
from test.support.processes import hears_signals
from test.support.waiting import wait_until
from test.support.weights import tiny_info, tiny_network

CAMERA = {'width': 128, 'height': 96, 'fx': 90.0, 'fy': 91.0, 'cx': 64.0, 'cy': 48.0}
CALIBRATION = """image_width: 128
image_height: 96
camera_name: narrow
camera_matrix:
  rows: 3
  cols: 3
  data: [90.0, 0., 64.0, 0., 91.0, 48.0, 0., 0., 1.]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [%s, 0., 0., 0., 0.]
"""
ECHOED = """header:
  stamp: {sec: 1, nanosec: 0}
  frame_id: camera
height: 96
width: 128
distortion_model: plumb_bob
d: [0.0, 0.0, 0.0, 0.0, 0.0]
k: [90.0, 0.0, 64.0, 0.0, 91.0, 48.0, 0.0, 0.0, 1.0]
---
"""


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    """Return a weights file of a small network with random weights."""
    path = tmp_path_factory.mktemp('model') / 'tiny.safetensors'
    save_weights(path, tiny_network(), tiny_info())
    return path


@pytest.fixture
def out(tmp_path):
    """Return a folder for results that does not exist yet."""
    return tmp_path / 'results' / 'here'


def picture(path, width=128, height=96, seed=0):
    """Write a colour picture."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), cv2.resize(coarse, (width, height)))
    return path


def written(path, text):
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


def predict(model, out, *arguments):
    # PyTorch starts sooner than OpenVINO compiles.
    return main(
        [
            'predict',
            '--model',
            str(model),
            '--device',
            'cpu',
            '--backend',
            'torch',
            '--out',
            str(out),
            *map(str, arguments),
        ]
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# Results.


def test_each_image_gives_depth_colour_and_cloud(model, out, tmp_path):
    image = picture(tmp_path / 'a.b.png')
    camera = written(tmp_path / 'camera.json', CAMERA)
    assert predict(model, out, image, '--camera', camera, '--cloud', '--npy') == 0
    assert names(out) == ['a.b.ply', 'a.b_color.png', 'a.b_depth.npy', 'a.b_depth.png']
    estimator = DepthEstimator.load(model, 'cpu', backend='torch')
    expected = estimator.infer(read_image(image), CameraModel(**CAMERA))
    depth = cv2.imread(str(out / 'a.b_depth.png'), cv2.IMREAD_UNCHANGED)
    assert depth.dtype == np.uint16
    np.testing.assert_allclose(depth, expected * 1000, atol=0.501)
    height, width, _ = cv2.imread(str(out / 'a.b_color.png')).shape
    assert width == 128 and height > 96  # the legend is below
    array = np.load(out / 'a.b_depth.npy')
    assert array.dtype == np.float32
    np.testing.assert_array_equal(
        array, np.where(expected > 10, np.inf, np.where(expected < 0.3, -np.inf, expected))
    )


def test_cloud_points_have_the_depth_and_the_colour_of_their_pixels(model, out, tmp_path):
    image = picture(tmp_path / 'a.png')
    camera = CameraModel(**CAMERA)
    assert (
        predict(model, out, image, '--camera', written(tmp_path / 'c.json', CAMERA), '--cloud') == 0
    )
    vertices, rgb = read_ply(out / 'a.ply'), read_image(image)
    depth = cv2.imread(str(out / 'a_depth.png'), cv2.IMREAD_UNCHANGED) / 1000
    assert len(vertices) > 1000
    u = np.rint(vertices['x'] / vertices['z'] * camera.fx + camera.cx).astype(int)
    v = np.rint(vertices['y'] / vertices['z'] * camera.fy + camera.cy).astype(int)
    np.testing.assert_allclose(vertices['z'], depth[v, u], atol=0.000501)
    for channel, name in enumerate(('red', 'green', 'blue')):
        np.testing.assert_array_equal(vertices[name], rgb[v, u, channel])


def test_without_a_camera_there_is_no_cloud_and_a_word_about_it(model, out, tmp_path, capsys):
    images = picture(tmp_path / 'a.jpg'), picture(tmp_path / 'b.jpg')
    assert predict(model, out, *images, '--cloud') == 0
    assert names(out) == ['a_color.png', 'a_depth.png', 'b_color.png', 'b_depth.png']
    captured = capsys.readouterr()
    assert captured.err.count('no camera given') == 1 and '65 degrees' in captured.err
    assert captured.out == ''


def test_no_cloud_is_spoken_of_where_none_was_asked_for(model, out, tmp_path, capsys):
    assert predict(model, out, picture(tmp_path / 'a.jpg')) == 0
    said = capsys.readouterr().err
    assert 'no camera given' in said and 'point cloud' not in said


def test_field_of_view_stands_in_for_a_camera(model, out, tmp_path):
    image = picture(tmp_path / 'a.jpg')
    assert predict(model, out, image, '--horizontal-fov-deg', 70, '--cloud') == 0
    assert (out / 'a.ply').exists()


def test_camera_is_scaled_to_a_resized_image(model, tmp_path):
    camera = written(tmp_path / 'c.json', CAMERA)
    image = cv2.imread(str(picture(tmp_path / 'a.png')))
    cv2.imwrite(str(tmp_path / 'b.png'), np.repeat(np.repeat(image, 2, 0), 2, 1))
    assert (
        predict(model, tmp_path / 'o', tmp_path / 'a.png', tmp_path / 'b.png', '--camera', camera)
        == 0
    )
    small, large = (
        cv2.imread(str(tmp_path / 'o' / f'{name}_depth.png'), -1) / 1000 for name in 'ab'
    )
    np.testing.assert_allclose(cv2.resize(large, (128, 96)), small, rtol=0.02)


def test_a_folder_stands_for_all_its_images_and_a_second_run_takes_no_results(model, tmp_path):
    for name in ('b.jpg', 'a.PNG', 'c.bmp'):
        picture(tmp_path / name)
    written(tmp_path / 'notes.txt', 'no image')
    for _ in range(2):
        assert predict(model, tmp_path, tmp_path) == 0
    assert len(names(tmp_path)) == 4 + 2 * 3


def test_what_is_not_taken_of_a_folder_is_named(model, tmp_path, capsys):
    picture(tmp_path / 'a.png')
    written(tmp_path / 'notes.txt', 'no image')
    predict(model, tmp_path, tmp_path)
    predict(model, tmp_path, tmp_path)
    said = [line for line in capsys.readouterr().err.splitlines() if 'skipped' in line]
    assert len(said) == 3 and all('notes.txt' in line for line in said[:2])
    assert 'earlier run' in said[2] and 'a_depth.png' in said[2]


def test_folders_are_taken_with_theirs_and_results_lie_as_the_images_do(model, out, tmp_path):
    for name in ('in/a.png', 'in/deep/er/a.png', 'in/.hidden/b.png', 'in/out/c.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture(tmp_path / name)
    assert predict(model, tmp_path / 'in' / 'out', tmp_path / 'in') == 0
    found = {
        str(path.relative_to(tmp_path / 'in' / 'out'))
        for path in (tmp_path / 'in' / 'out').rglob('*_depth.png')
    }
    assert found == {'a_depth.png', 'deep/er/a_depth.png'}


@pytest.mark.parametrize(
    'words, expected',
    [
        (['x/a.png', 'x/a.png'], ['a']),
        (['x/a.png', 'x/b.png'], ['a', 'b']),
        (['x/a.png', 'x/a.jpg'], ['a.png', 'a.jpg']),
        (['x/a.png', 'y/a.png', 'y/a.jpg', 'y/a_1.png'], ['x/a', 'y/a', 'a.jpg', 'a_1']),
        (['x/a.png', 'x/a.png.png', 'x/a.jpg'], ['x/a', 'a.png.png', 'a.jpg']),
        (['x', 'y/a.png'], ['x/a', 'a.jpg', 'b', 'y/a']),
    ],
)
def test_results_are_named_after_their_files(tmp_path, monkeypatch, words, expected):
    monkeypatch.chdir(tmp_path)
    for name in ('x/a.png', 'x/a.jpg', 'x/b.png', 'x/a.png.png', 'y/a.png', 'y/a.jpg', 'y/a_1.png'):
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        if not (words[0] == 'x' and name == 'x/a.png.png'):
            path.touch()
    jobs = named(find(map(Path, words), tmp_path / 'out').files)
    assert sorted(str(job.name) for job in jobs) == sorted(expected)


def test_the_lines_say_which_result_is_of_which_file(model, out, tmp_path, capsys):
    images = picture(tmp_path / 'a.png'), picture(tmp_path / 'a.jpg', seed=1)
    assert predict(model, out, *images) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith('[')]
    assert all(f'{path}: {path.name}_depth.png' in line for path, line in zip(images, lines))


def test_the_stride_of_a_cloud_is_the_node_s(model, out, tmp_path):
    image = picture(tmp_path / 'a.png', 256, 192)
    found = {}
    for more, stride in (((), 2), (('--point-stride', 8), 8)):
        assert (
            predict(
                model,
                out,
                image,
                '--horizontal-fov-deg',
                70,
                '--cloud',
                '--edge-threshold',
                0,
                *more,
            )
            == 0
        )
        found[stride] = len(read_ply(out / 'a.ply'))
    assert found == {2: 128 * 96, 8: 32 * 24}


def test_a_scan_is_a_table_of_angles_and_ranges(model, out, tmp_path, capsys):
    image = picture(tmp_path / 'a.png')
    assert predict(model, out, image, '--scan') == 0
    assert 'a_scan.csv' not in names(out) and 'there is no scan' in capsys.readouterr().err
    assert (
        predict(
            model,
            out,
            image,
            '--horizontal-fov-deg',
            70,
            '--scan',
            '--depth-scale',
            0.2,
            '--max-depth',
            2,
        )
        == 0
    )
    table = np.genfromtxt(out / 'a_scan.csv', delimiter=',', names=True)
    assert table.dtype.names == ('angle', 'range')
    assert (np.diff(table['angle']) > 0).all()
    assert np.degrees(np.ptp(table['angle'])) == pytest.approx(70, abs=1)
    finite = table['range'][np.isfinite(table['range'])]
    assert finite.size and (finite >= 0.3).all() and (finite <= 2 / np.cos(np.radians(35))).all()


@pytest.mark.parametrize(
    'words, said',
    [
        (['--max-depth', '200'], 'max_depth must be in [0, 100], got 200'),
        (['--point-stride', '2.5'], "point_stride must be of type int, got '2.5'"),
        (['--edge-threshold', 'nan'], 'edge_threshold must be in [0, 1], got nan'),
        (['--scan-min-height', '1'], 'scan_min_height 1.0 must be below scan_max_height 0.3'),
        (['--min-depth', '12'], 'min_depth 12 must be below the 10 m that the network reaches'),
    ],
)
def test_settings_that_cannot_be_used_are_told_by_name(model, out, tmp_path, capsys, words, said):
    try:
        code = predict(model, out, picture(tmp_path / 'a.png'), *words)
    except SystemExit as refused:  # refused by argparse
        code = refused.code
    assert code == 2 and said in capsys.readouterr().err
    assert not out.exists() or not names(out)


def anchors_of(depth, path, factor, header=''):
    """Write an anchor file: depth times a factor at every eighth pixel."""
    lines = [f'{u},{v},{factor * depth[v, u]}' for v in range(4, 96, 8) for u in range(4, 128, 8)]
    return written(path, '\n'.join([header, *lines]))


def test_anchors_of_an_image_correct_its_depth(model, out, tmp_path, capsys):
    image = picture(tmp_path / 'a.png')
    assert predict(model, out, image, '--npy') == 0
    plain = np.load(out / 'a_depth.npy')
    anchors = anchors_of(plain, tmp_path / 'lidar.csv', 1.3, 'u,v,depth')
    capsys.readouterr()
    assert predict(model, out, image, '--npy', '--anchors', anchors) == 0
    assert re.search(
        r'corrected by \d+ of 192 anchors: 30 % off before, 0 % after', capsys.readouterr().err
    )
    np.testing.assert_allclose(np.load(out / 'a_depth.npy'), plain * 1.3, rtol=0.01)
    assert predict(model, out, image, '--anchors', written(tmp_path / 'few', '5 5 2\n9 9 2')) == 0
    assert 'not corrected: 2 anchors; at least 4 are needed' in capsys.readouterr().err


def test_anchors_of_a_folder_of_images(model, out, tmp_path, capsys):
    (tmp_path / 'in').mkdir()
    for name in ('a', 'b', 'c'):
        picture(tmp_path / 'in' / f'{name}.png')
    assert predict(model, out, tmp_path / 'in', '--npy') == 0
    plain = np.load(out / 'a_depth.npy')
    anchors_of(plain, tmp_path / 'in' / 'a.anchors.csv', 1.3)
    written(tmp_path / 'in' / 'b.anchors.csv', '1,2,3\n1,2')
    capsys.readouterr()
    # A wrong anchor file fails only its own image; an image without one is not corrected.
    assert predict(model, out, tmp_path / 'in', '--npy', '--anchors', tmp_path / 'in') == 1
    said = capsys.readouterr().err
    assert 'b.anchors.csv, line 2: need u, v and metres' in said and 'skipped' not in said
    assert f'not corrected: there is no {tmp_path / "in" / "c.anchors.csv"}' in said
    np.testing.assert_allclose(np.load(out / 'a_depth.npy'), plain * 1.3, rtol=0.01)
    np.testing.assert_array_equal(np.load(out / 'c_depth.npy'), plain)


def test_anchors_that_cannot_be_meant_are_told(model, out, tmp_path, capsys):
    image, anchors = picture(tmp_path / 'a.png'), written(tmp_path / 'a.csv', '1,2,3')
    camera = written(tmp_path / 'c.yaml', CALIBRATION % -0.3)
    for words, said in [
        ((image, '--anchors', tmp_path / 'no.csv'), 'there is no such file'),
        (
            (image, picture(tmp_path / 'b.png'), '--anchors', anchors),
            'is of one image, and there are 2',
        ),
        ((video(tmp_path / 'v.avi'), '--anchors', anchors), 'v.avi is a video'),
        ((image, '--camera', camera, '--anchors', anchors), '--rectified'),
    ]:
        assert predict(model, out, *words) == 2
        assert said in capsys.readouterr().err


def exif(path, width=128, height=96, **tags):
    """Write a picture with EXIF tags."""
    from PIL import ExifTags, Image

    data = Image.Exif()
    for name, value in tags.items():
        data.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base[name]] = value
    Image.new('RGB', (width, height), (90, 60, 30)).save(path, exif=data)
    return path


def test_the_focal_length_comes_from_exif(model, out, tmp_path, capsys):
    # A full-frame camera with a 35 mm lens: the view is 2 atan(18 / 35) wide.
    camera = read_photo(exif(tmp_path / 'a.jpg', 144, 96, FocalLengthIn35mmFilm=35)).camera
    assert camera.fx == camera.fy == pytest.approx(35 / 36 * 144)
    plane = {
        'FocalLength': 35.0,
        'FocalPlaneXResolution': 400.0,
        'FocalPlaneResolutionUnit': 3,
        'ExifImageWidth': 1440,
        'ExifImageHeight': 960,
    }
    assert read_photo(exif(tmp_path / 'b.jpg', 144, 96, **plane)).camera == camera
    assert predict(model, out, tmp_path / 'a.jpg', '--cloud') == 0
    assert (out / 'a.ply').exists() and '54 degrees wide by its EXIF' in capsys.readouterr().err
    assert predict(model, out, tmp_path / 'a.jpg', '--horizontal-fov-deg', 70) == 0
    assert 'EXIF' not in capsys.readouterr().err


@pytest.mark.parametrize(
    'tags',
    [
        {},
        {'FocalLengthIn35mmFilm': 0},
        {'FocalLength': 35.0},
        {'FocalLengthIn35mmFilm': 35, 'ExifImageWidth': 300, 'ExifImageHeight': 96},
    ],
)
def test_exif_that_does_not_tell_the_focal_length_gives_no_camera(tmp_path, tags):
    assert read_photo(exif(tmp_path / 'a.jpg', **tags)).camera is None


def test_avif_is_read_and_heic_names_what_it_needs(tmp_path, monkeypatch):
    from PIL import Image, features

    if features.check('avif'):
        Image.new('RGB', (32, 24), (200, 100, 50)).save(tmp_path / 'a.avif', quality=95)
        found = read_image(tmp_path / 'a.avif')
        assert found.shape == (24, 32, 3) and np.abs(found[0, 0] - [200.0, 100, 50]).max() < 8
    monkeypatch.setitem(sys.modules, 'pillow_heif', None)
    (tmp_path / 'a.heic').write_bytes(b'\0\0\0\x18ftypheic')
    with pytest.raises(ImageError, match=r'pip install "depth_perception\[heic\]"'):
        read_image(tmp_path / 'a.heic')


def test_colours_fit_the_scene_or_what_was_asked_for(model, out, tmp_path, capsys):
    image = picture(tmp_path / 'a.png')
    pictures = []
    for more in ((), ('--color-range', 0.1, 10), ('--color-range', 0.1, 50)):
        assert predict(model, out, image, *more) == 0
        pictures.append(cv2.imread(str(out / 'a_color.png')))
    assert (pictures[0] != pictures[1]).any() and (pictures[1] != pictures[2]).any()
    assert predict(model, out, image, '--color-range', 5, 2) == 2


# Videos.


def video(path, count=6, rate=5.0):
    """Write a small video whose frames get brighter."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), rate, (128, 96))
    for index in range(count):
        writer.write(np.full((96, 128, 3), 40 * index % 256, np.uint8))
    writer.release()
    return path


def cut(path):
    """Write a copy of an AVI that ends within its eleventh frame."""
    content = path.read_bytes()
    frames = [found.start() for found in re.finditer(b'00dc', content)]
    short = path.with_name('cut.avi')
    short.write_bytes(content[: frames[10] + 40])
    return short


def test_a_video_becomes_a_video_of_camera_and_depth(model, out, tmp_path, capsys):
    assert predict(model, out, video(tmp_path / 'v.avi')) == 0
    assert names(out) == ['v_color.mp4'] and '6 frames' in capsys.readouterr().err
    reader = VideoReader(out / 'v_color.mp4')
    frames = [frame for _, frame in reader.frames()]
    assert len(frames) == 6 and reader.rate == pytest.approx(5)
    assert frames[0].shape[1] == 256 and frames[0].shape[0] > 96
    # The camera is at the left, and its frames are in order.
    assert (
        np.abs(np.array([frame[:96, :128].mean() for frame in frames]) - 40 * np.arange(6)).max()
        < 12
    )


def test_frames_of_a_video_are_written_where_they_are_asked_for(model, out, tmp_path):
    path = video(tmp_path / 'v.avi')
    assert predict(model, out, path, '--npy', '--every', 4) == 0
    assert names(out) == ['v', 'v_color.mp4']
    assert names(out / 'v') == [
        f'00000{number}_{what}'
        for number in (0, 4)
        for what in ('color.png', 'depth.npy', 'depth.png')
    ]


def test_a_cloud_that_cannot_be_made_leaves_no_folder_of_frames(model, out, tmp_path, capsys):
    assert predict(model, out, video(tmp_path / 'v.avi'), '--cloud') == 0
    assert names(out) == ['v_color.mp4'] and 'no point cloud' in capsys.readouterr().err
    assert (
        predict(model, out, tmp_path / 'v.avi', '--cloud', '--horizontal-fov-deg', 60, '--every', 5)
        == 0
    )
    assert len(list((out / 'v').glob('*.ply'))) == 2


def test_a_video_that_ends_too_early_is_told(model, out, tmp_path, capsys):
    whole = video(tmp_path / 'v.avi', 20)
    assert predict(model, out, whole) == 0
    assert 'promises' not in capsys.readouterr().err
    assert predict(model, out, cut(whole)) == 0
    assert 'of the 20 frames that it promises' in capsys.readouterr().err


def test_options_about_videos_alone_are_told(model, out, tmp_path, capsys):
    image = picture(tmp_path / 'a.png')
    for option in (['--every', 3], ['--frames']):
        assert predict(model, out, image, *option) == 0
        assert 'there is none' in capsys.readouterr().err


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP])
def test_a_terminated_command_leaves_no_halves(model, out, tmp_path, number):
    """SIGTERM of job managers and SIGHUP of a closed terminal clean up like Ctrl-C."""
    clip = video(tmp_path / 'clip.avi', 3000)
    out.mkdir(parents=True)
    process = subprocess.Popen(
        [
            sys.executable,
            '-m',
            'depth_perception.cli.main',
            'predict',
            str(clip),
            '--model',
            str(model),
            '--out',
            str(out),
            '--device',
            'cpu',
        ],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hears_signals,
    )
    wait_until(lambda: list(out.iterdir()))  # the half-written video
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + number and 'interrupted' in said and 'Traceback' not in said
    assert not list(out.iterdir())


def test_a_damaged_video_costs_itself_alone(model, out, tmp_path, capfd):
    (tmp_path / 'v.mp4').write_bytes(b'no video')
    assert predict(model, out, tmp_path / 'v.mp4', picture(tmp_path / 'a.png')) == 1
    assert names(out) == ['a_color.png', 'a_depth.png']
    assert 'it is not a video that OpenCV can read' in capfd.readouterr().err


@pytest.mark.skipif(
    not Path('/dev/shm').is_dir() or os.geteuid() != 0,
    reason='a small disk can be mounted by root alone',
)
@pytest.mark.parametrize('what', ['image', 'video'])
def test_a_full_disk_stops_it_and_leaves_no_halves(model, tmp_path, capsys, what):
    disk = tmp_path / 'disk'
    disk.mkdir()
    if subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk], capture_output=True
    ).returncode:
        pytest.skip('nothing can be mounted here')
    try:
        files = [
            picture(tmp_path / f'{name}.png', 640, 480)
            if what == 'image'
            else video(tmp_path / f'{name}.avi', 40)
            for name in 'ab'
        ]
        assert predict(model, disk, *files, '--npy') == 1
        said = capsys.readouterr().err
        assert 'stopped: nothing more can be written' in said and '[2/2]' not in said
        left = [path for path in disk.rglob('*') if path.is_file()]
        assert not [path for path in left if path.name.startswith('.')]
        stems = {path.name.rsplit('_', 1)[0] for path in left}
        assert all(len([p for p in left if p.name.startswith(stem)]) == 3 for stem in stems)
    finally:
        subprocess.run(['umount', disk], check=True)


def test_pictures_of_other_kinds_are_read_as_colour(tmp_path):
    grey = np.full((10, 12), 77, np.uint8)
    for name, image in (
        ('g.png', grey),
        ('a.png', np.dstack([grey] * 4)),
        ('d.png', grey.astype(np.uint16) * 257),
        ('twelve_bits.png', (grey.astype(int) * 4095 // 255 + 1).astype(np.uint16)),
        ('floats.tiff', grey.astype(np.float32) / 255),
    ):
        cv2.imwrite(str(tmp_path / name), image)
        assert (read_image(tmp_path / name) == 77).all(), name
        assert read_image(tmp_path / name).shape == (10, 12, 3)


def test_channels_are_red_green_blue(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((4, 4, 3), (3, 2, 1), np.uint8))
    assert read_image(tmp_path / 'a.png')[0, 0].tolist() == [1, 2, 3]


# Cameras.


def test_a_distorting_lens_is_rectified_as_the_node_does_unless_the_images_are(
    model, out, tmp_path, capsys
):
    camera = written(tmp_path / 'c.yaml', CALIBRATION % -0.3)
    image = picture(tmp_path / 'a.png')
    raw = read_image(image)
    assert predict(model, out, image, '--camera', camera, '--cloud') == 0
    assert 'images are rectified first' in capsys.readouterr().err
    info = read_camera_file(camera)
    expected = Rectifier(info.calibration(128, 96))(raw)
    cloud = read_ply(out / 'a.ply')
    colours = np.stack([cloud[name] for name in ('red', 'green', 'blue')], -1)
    assert len(cloud) and {*map(tuple, colours)} <= {*map(tuple, expected.reshape(-1, 3))}
    assert predict(model, out, image, '--camera', camera, '--rectified') == 0
    assert 'rectified first' not in capsys.readouterr().err


def test_an_implausible_camera_is_told_with_its_cause(model, out, tmp_path, capsys):
    camera = written(tmp_path / 'c.json', json.dumps({**CAMERA, 'fx': 3.6, 'fy': 3.6}))
    assert predict(model, out, picture(tmp_path / 'a.png'), '--camera', camera) == 0
    said = capsys.readouterr().err
    assert f'camera {camera}: K has a focal length of 3.6' in said and 'millimetres' in said


def test_an_impossible_lens_is_told_and_its_images_are_not_rectified(model, out, tmp_path, capsys):
    lens = {'distortion_model': 'plumb_bob', 'd': [50, 50, 0, 0, 9]}
    camera = written(tmp_path / 'c.json', json.dumps({**CAMERA, **lens}))
    assert predict(model, out, picture(tmp_path / 'a.png'), '--camera', camera) == 0
    said = capsys.readouterr().err
    assert (
        f'camera {camera}: the images are not rectified' in said and 'rectified first' not in said
    )
    assert 'D = [50, 50, 0, 0, 9]' in said and 'calibrate again' in said
    with pytest.warns(UserWarning, match=r'D = \[50, 50, 0, 0, 9\]'):
        read_camera(camera)


@pytest.mark.parametrize(
    'text',
    [
        '',
        'hello',
        '[1, 2]',
        '{}',
        '{"width": 128}',
        'a: [',
        '\x00\x01',
        json.dumps({**CAMERA, 'fx': 0}),
        json.dumps({**CAMERA, 'fx': 'wide'}),
        json.dumps({**CAMERA, 'width': None}),
        'image_width: 128\nimage_height: 96\ncamera_matrix: {data: [1, 2]}\n',
        'width: 128\nheight: 96\nk: 5\n',
        '!!python/object/apply:os.system ["true"]',
    ],
)
def test_unusable_camera_is_one_sentence_that_names_the_file(tmp_path, text):
    path = written(tmp_path / 'c', text)
    with pytest.raises(CameraError) as caught:
        read_camera(path)
    assert str(path) in str(caught.value) and '\n' not in str(caught.value)


def test_missing_and_binary_cameras_are_named(tmp_path):
    with pytest.raises(CameraError, match=r'none\.yaml: No such file'):
        read_camera(tmp_path / 'none.yaml')
    (tmp_path / 'b').write_bytes(b'\xff\xfe\x00\x80')
    with pytest.raises(CameraError, match='cannot use camera'):
        read_camera(tmp_path / 'b')


# Errors.


def damaged(folder):
    """Return paths that are not images, each for a different reason."""
    whole = picture(folder / 'whole.png').read_bytes()
    (folder / 'cut.png').write_bytes(whole[:60])
    (folder / 'empty.jpg').touch()
    (folder / 'text.jpg').write_text('no image')
    return [folder / name for name in ('cut.png', 'empty.jpg', 'text.jpg', 'none.jpg')]


def test_bad_images_cost_themselves_alone_and_exit_1(model, out, tmp_path, capsys):
    bad = damaged(tmp_path)
    assert predict(model, out, *bad[:2], tmp_path / 'whole.png', *bad[2:]) == 1
    assert names(out) == ['whole_color.png', 'whole_depth.png']
    lines = [line for line in capsys.readouterr().err.splitlines() if 'failed: ' in line]
    assert len(lines) == 4
    for path, line in zip(bad, lines):
        assert f'] {path}: failed: ' in line
    assert 'No such file' in lines[-1] and 'not an image that OpenCV or Pillow can read' in lines[0]


def test_network_addresses_are_told_from_missing_files(model, out, tmp_path, capsys):
    image = picture(tmp_path / 'a.png')
    assert predict(model, out, 'http://host/a.jpg', 'https://host/v.mp4', image) == 1
    said = capsys.readouterr().err
    assert said.count('it is a network address, and only local files are read') == 2
    assert predict('https://host/m.safetensors', out, image) == 2
    assert predict(model, out, image, '--camera', 'ftp://host/camera.yaml') == 2
    assert capsys.readouterr().err.count('network address') == 2


@pytest.mark.parametrize(
    'name, is_told',
    [('a.gif', True), ('a.tif', True), ('a.webp', True), ('a.png', True), ('a.jpg', False)],
)
def test_of_a_file_of_many_pictures_it_says_that_the_first_is_taken(
    model, out, tmp_path, capsys, name, is_told
):
    from PIL import Image

    frames = [Image.fromarray(np.full((48, 64, 3), level, np.uint8)) for level in (60, 120, 180)]
    kind = {'.jpg': 'MPO'}.get(Path(name).suffix)  # phones add a gain map to a photograph like this
    frames[0].save(tmp_path / name, kind, save_all=True, append_images=frames[1:])
    assert abs(read_image(tmp_path / name).mean() - 60) < 3
    assert predict(model, out, tmp_path / name) == 0
    assert ('only the first of its 3 pictures' in capsys.readouterr().err) == is_told


def test_empty_files_are_called_so(model, out, tmp_path, capsys):
    files = tmp_path / 'a.jpg', tmp_path / 'v.mp4'
    for path in files:
        path.touch()
    assert predict(model, out, *files) == 1
    said = capsys.readouterr().err
    assert said.count('failed: it is empty') == 2 and 'results in' not in said


def test_a_recording_costs_itself_and_names_the_command_for_it(model, out, tmp_path, capsys):
    bag = Path(__file__).parents[2] / 'data' / 'clip_bag'
    file = next(bag.glob('*.mcap'))
    assert predict(model, out, file, picture(tmp_path / 'a.png')) == 1
    assert 'it is a recording: "process_bag" writes its depth' in capsys.readouterr().err
    assert names(out) == ['a_color.png', 'a_depth.png']
    assert predict(model, out, bag) == 2
    assert 'it is a recording' in capsys.readouterr().err.splitlines()[-1]


def test_gif_and_jpeg_2000_in_a_folder_are_images(tmp_path):
    for name in ('a.gif', 'b.jp2', 'c.jpe'):
        (tmp_path / name).touch()
    assert [file.name for file, _ in find([tmp_path], tmp_path / 'out').files] == [
        'a.gif',
        'b.jp2',
        'c.jpe',
    ]


def test_libraries_say_nothing_of_files_in_words_of_their_own(model, out, tmp_path):
    cut(video(tmp_path / 'v.avi', 20))
    (tmp_path / 'a.cr2').write_bytes(b'II*\0')
    (tmp_path / 'b.mp4').write_bytes(b'no video')
    files = [tmp_path / name for name in ('cut.avi', 'a.cr2', 'b.mp4')]
    process = subprocess.run(
        [
            sys.executable,
            '-m',
            'depth_perception.cli.main',
            'predict',
            *files,
            '--out',
            out,
            '--model',
            model,
            '--device',
            'cpu',
            '--backend',
            'torch',
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    lines = process.stderr.splitlines()
    assert process.returncode == 1 and len(lines) == 5, process.stderr
    assert all(
        line.startswith(('no camera', f'[{n}/3]', '1 of 3'))
        for n, line in zip((0, 1, 2, 3, 0), lines)
    ), process.stderr


def test_a_picture_of_one_pixel_has_no_result(model, out, tmp_path, capsys):
    assert predict(model, out, picture(tmp_path / 'a.png', 1, 1)) == 1
    assert not names(out) and '1x1 pixels, too small' in capsys.readouterr().err


def test_an_image_of_another_aspect_than_the_camera_fails_alone(model, out, tmp_path, capsys):
    camera = written(tmp_path / 'c.json', CAMERA)
    images = picture(tmp_path / 'wide.png', 160, 90), picture(tmp_path / 'good.png')
    assert predict(model, out, *images, '--camera', camera) == 1
    assert names(out) == ['good_color.png', 'good_depth.png']
    assert 'aspect ratios differ' in capsys.readouterr().err


def usage_error(capsys, code):
    """Return the only line on stderr, after checking the exit code."""
    lines = capsys.readouterr().err.splitlines()
    assert code == 2 and len(lines) == 1 and lines[0].startswith('depth-perception: ')
    return lines[0]


def test_what_cannot_be_started_is_one_sentence_and_exit_2(model, out, tmp_path, capsys):
    image = picture(tmp_path / 'a.png')
    (tmp_path / 'bare').mkdir()
    cases = [
        ((tmp_path / 'none.safetensors', out, image), 'there is no such file'),
        ((model, image, image), 'cannot make folder'),
        ((model, out, tmp_path / 'bare'), 'there is no image and no video in'),
        ((model, out, image, '--device', 'tpu'), "unknown device 'tpu'"),
        (
            (model, out, image, '--camera', image),
            'a.png is not a text file in UTF-8 (byte 0x89 at 0)',
        ),
        ((model, out, image, '--horizontal-fov-deg', 200), 'field of view 200'),
        ((model, out, image, '--rectified'), 'add --camera'),
    ]
    for arguments, said in cases:
        error = usage_error(capsys, predict(*arguments))
        assert said in error and 'model_file' not in error  # a parameter of the node, not an option


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_folder_without_permission(model, tmp_path, capsys):
    image = picture(tmp_path / 'a.png')
    (tmp_path / 'locked').mkdir(0o555)
    assert (
        'permission denied'
        in usage_error(capsys, predict(model, tmp_path / 'locked' / 'deep', image)).lower()
    )


@pytest.mark.parametrize(
    'arguments',
    [
        [],
        ['predict'],
        ['predict', 'a.png'],
        ['dance'],
        ['predict', '--out', 'o'],
        ['predict', 'a.png', '--out', 'o', '--camera', 'c', '--horizontal-fov-deg', '60'],
        ['predict', 'a.png', '--out', 'o', '--precision', 'int8'],
    ],
)
def test_wrong_usage_exits_2(arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_a_failed_write_leaves_no_part_behind(model, out, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, 'No space left on device')

    image = picture(tmp_path / 'a.png')
    assert predict(model, out, image) == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setattr('depth_perception.io.files.os.replace', full)
    assert predict(model, out, picture(tmp_path / 'a.png', seed=1)) == 1
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_the_command_runs_as_a_process_with_the_bundled_network(out, tmp_path):
    image = picture(tmp_path / 'a.jpg')
    process = subprocess.run(
        [
            sys.executable,
            '-m',
            'depth_perception.cli.main',
            'predict',
            image,
            '--out',
            out,
            '--device',
            'cpu',
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    assert '1 of 1 images done' in process.stderr
    assert names(out) == ['a_color.png', 'a_depth.png']
