# SPDX-License-Identifier: Apache-2.0
"""The demo: its scores, its pictures, and a complete run over DDS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

pytest.importorskip('rclpy', reason='ROS 2 (rclpy) is not installed')
pytest.importorskip('matplotlib', reason='the package matplotlib is not installed')

from PIL import Image
from rosbags.rosbag2 import StoragePlugin

from depth_perception.camera.model import CameraModel
from depth_perception.demo.animation import WIDTH, animation
from depth_perception.demo.obstacles import obstacle_scores
from depth_perception.demo.pictures import cloud_points, cloud_views, montage, true_scan
from depth_perception.demo.plan import Mounting, read_mounting
from depth_perception.demo.processes import Child
from depth_perception.demo.recorder import FrameRecord, ScanRecord
from depth_perception.demo.scores import read_truth, scores
from depth_perception.depth.anchors import Anchors
from depth_perception.io.bag import BagError
from test.support.bags import write_bag
from test.support.ros import picture, wait_until

ROOT = Path(__file__).parents[2]


def test_scores_equal_an_independent_computation():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.5, 12, (20, 30)).astype(np.float32)
    truth[:3] = 0
    prediction = (truth * rng.uniform(0.7, 1.3, truth.shape)).astype(np.float32)
    prediction[5, :4] = np.inf
    got = scores([(prediction, truth)])
    valid = (truth > 0) & (truth < 10) & np.isfinite(prediction)
    p, t = prediction[valid], truth[valid]
    assert got['AbsRel'] == pytest.approx(np.mean(np.abs(p - t) / t), rel=1e-5)
    assert got['RMSE_m'] == pytest.approx(np.sqrt(np.mean((p - t) ** 2)), rel=1e-5)
    assert got['delta1'] == pytest.approx(np.mean(np.maximum(p / t, t / p) < 1.25))
    assert got['pixels'] == valid.sum() and got['share_of_truth_predicted'] < 1
    assert scores([(prediction, np.zeros_like(truth))]) == {}


def frame() -> FrameRecord:
    rng = np.random.default_rng(0)
    cloud = rng.uniform(0.5, 3, (10, 12, 4)).astype(np.float32)
    cloud[0, 0, :3] = np.nan
    scan = ScanRecord(np.linspace(-0.5, 0.5, 20), np.where(np.arange(20) % 3, 2.0, np.inf))
    return FrameRecord(0, picture(0), np.full((60, 80), 2.0, np.float32), cloud, scan)


CAMERA = CameraModel(80, 60, 70.0, 70.0, 40.0, 30.0)


@pytest.mark.parametrize('truth', [None, np.full((60, 80), 2.1, np.float32)])
def test_pictures_are_written_and_not_blank(tmp_path, truth):
    montage(tmp_path / 'm.png', [frame(), frame()], [truth, truth], 'title', CAMERA)
    cloud_views(tmp_path / 'c.png', frame(), CAMERA)
    images = [cv2.imread(str(tmp_path / name)) for name in ('m.png', 'c.png')]
    assert all(image is not None and image.std() > 10 for image in images)
    # True depth adds columns for itself and the error, and anchors add their columns.
    assert (images[0].shape[1] > 1500) is (truth is not None)
    anchored = replace(frame(), anchored=replace(frame(), anchors=Anchors.of([5.0], [6.0], [2.0])))
    montage(tmp_path / 'a.png', [anchored, anchored], [truth, truth], 'title', CAMERA)
    assert cv2.imread(str(tmp_path / 'a.png')).shape[1] > images[0].shape[1]


def test_the_true_scan_equals_the_node_s_scan_of_the_true_depth():
    assert true_scan(None, CAMERA, 5.0) is None
    scan = true_scan(np.full((60, 80), 2.0, np.float32), CAMERA, 5.0)
    ahead = np.abs(scan.angles) < 0.2
    np.testing.assert_allclose((scan.ranges * np.cos(scan.angles))[ahead], 2.0, rtol=0.02)


def test_obstacles_are_counted_over_the_frames_with_a_scan_and_a_truth():
    mounting, camera = Mounting(0.0, 0.4), CAMERA
    truth = np.full((60, 80), 2.0, np.float32)
    scan = true_scan(truth, camera, 10.0, mounting)
    right, far, none = (
        replace(frame(), index=index, scan=seen)
        for index, seen in enumerate((scan, ScanRecord(scan.angles, scan.ranges * 2), None))
    )
    found = obstacle_scores(
        [right, far, none, replace(right, index=9)], [truth] * 3, camera, mounting, 10.0
    )
    assert found['obstacles'] == 2 * np.isfinite(scan.ranges).sum() > 100
    assert found['found_percent'] == found['missed_percent'] == 50
    assert obstacle_scores([none], [truth] * 3, camera, mounting, 10.0) == {}


@pytest.mark.parametrize(
    'text, found',
    [
        (None, None),
        ('{"pitch_deg": 7, "height_m": 0.5}', Mounting(7, 0.5)),
        ('{"pitch_deg": 7}', 'height_m'),
        ('{"pitch_deg": 95, "height_m": 1}', 'camera_pitch'),
        ('no json', 'pitch_deg'),
        ('[]', 'pitch_deg'),
        ('{"pitch_deg": "7", "height_m": 1}', "'7'"),
    ],
)
def test_a_recording_says_how_its_camera_is_mounted(tmp_path, text, found):
    if text is not None:
        (tmp_path / 'mounting.json').write_text(text)
    if isinstance(found, str):
        with pytest.raises(BagError, match=found):
            read_mounting(tmp_path)
    else:
        assert read_mounting(tmp_path) == found


@pytest.mark.parametrize('camera', [None, CAMERA])
def test_the_animation_has_every_frame_and_a_cloud_if_there_is_a_camera(tmp_path, camera):
    frames = [frame() for _ in range(3)]
    for index, each in enumerate(frames):
        each.rgb = np.full((60, 80, 3), 60 * index, np.uint8)
    animation(tmp_path / 'a.gif', frames, camera, (1.0, 3.0), 0.1)
    with Image.open(tmp_path / 'a.gif') as image:
        assert image.n_frames == 3 and image.size[0] == (3 if camera else 2) * WIDTH
        assert image.info['duration'] == 100 and image.info['loop'] == 0


def test_cloud_points_drop_unknown_points_and_keep_colours():
    cloud = np.zeros((1, 2, 4), np.float32)
    cloud[0, 1, :3] = np.nan
    cloud[0, 0, 3] = np.array([0x102030], np.uint32).view(np.float32)[0]
    points, colours = cloud_points(cloud)
    assert points.shape == (1, 3) and colours.tolist() == [[0x10, 0x20, 0x30]]


def demo(*arguments: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != 'ROS_DOMAIN_ID'}
    return subprocess.run(
        [sys.executable, '-m', 'depth_perception.demo', *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_bundled_clip_from_bag_to_pictures(tmp_path):
    result = demo('--out', str(tmp_path))
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / 'summary.json').read_text())
    # The rate is reduced until the machine keeps up, however busy it is.
    assert summary['frames_in'] == 40 and set(summary['frames_out'].values()) == {40}
    assert 0 < summary['scores']['AbsRel'] < 1 and 'no alignment' in summary['scores']['protocol']
    assert summary['latency_ms']['depth/image']['p95'] > 0 and summary['checksum']
    obstacles = summary['obstacles']
    assert obstacles['obstacles'] > 10_000 and '3 m' in obstacles['protocol']
    assert f'{obstacles["found_percent"]} % found' in result.stdout
    for name in ('montage.png', 'animation.gif', 'cloud.png', 'cloud.ply', 'summary.json'):
        assert str(tmp_path / name) in result.stdout
        assert (tmp_path / name).stat().st_size > 500
    assert len(read_truth(ROOT / 'data' / 'clip_bag' / 'truth')) == 40


def test_anchors_of_the_truth_correct_the_depth_of_a_second_replay(tmp_path):
    bag = write_bag(
        tmp_path / 'bag',
        [picture(i, 160, 120) for i in range(4)],
        storage=StoragePlugin.MCAP,
        jpeg=True,
        hz=6,
    )
    missing = demo(str(bag), '--anchors', '--out', str(tmp_path / 'out'))
    assert missing.returncode == 2 and 'there is no' in missing.stderr
    (bag / 'truth').mkdir()
    for number in range(4):
        cv2.imwrite(str(bag / 'truth' / f'{number}.png'), np.full((120, 160), 900, np.uint16))
    result = demo(str(bag), '--anchors', '--out', str(tmp_path / 'out'))
    assert result.returncode == 0, result.stderr
    assert 'with one row of a lidar:  AbsRel 0.' in result.stdout
    summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
    anchored = summary['anchored']
    assert set(anchored['frames_out'].values()) == {4}
    assert 'anchors_ms' in anchored['node_stages_ms']
    assert anchored['scores']['AbsRel'] < 0.5 * summary['scores']['AbsRel']
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == sorted(
        ('montage.png', 'animation.gif', 'cloud.png', 'cloud.ply', 'summary.json')
    )


def test_an_imported_network_has_the_library_s_depth(tmp_path):
    from depth_perception import CameraModel, DepthEstimator, DepthSettings, depth_products
    from depth_perception.cli.main import main
    from test.support.onnx_files import mean_depth

    source, size = mean_depth(tmp_path / 'net.onnx'), ['--size', '160x120']
    words = ['import-model', str(source), *size, '--mean', *'000', '--std', *['0.02'] * 3]
    models = {output: tmp_path / f'{output}.safetensors' for output in ('metres', 'relative_depth')}
    for output, path in models.items():
        assert main([*words, '--output', output, '--out', str(path), '--max-depth', '90']) == 0
    pictures = [picture(i, 160, 120) for i in range(3)]
    bag = write_bag(tmp_path / 'bag', pictures, storage=StoragePlugin.MCAP, jpeg=False, hz=4)
    (bag / 'truth').mkdir()
    for number in range(3):
        cv2.imwrite(str(bag / 'truth' / f'{number}.png'), np.full((120, 160), 9000, np.uint16))
    out = tmp_path / 'out'
    result = demo(str(bag), '--model', str(models['metres']), '--out', str(out))
    assert result.returncode == 0, result.stderr
    estimator = DepthEstimator.load(models['metres'])
    camera = CameraModel(width=160, height=120, fx=128.0, fy=128.0, cx=80.0, cy=60.0)
    metres = [estimator.infer(rgb, camera) for rgb in pictures]
    far = estimator.info.max_depth
    depths = [
        depth_products(rgb, camera, depth, DepthSettings(), network_max_depth=far).depth
        for rgb, depth in zip(pictures, metres)
    ]
    truths = [np.full((120, 160), 9, np.float32)] * 3
    expected = json.loads(json.dumps(scores(zip(depths, truths))))
    assert expected['AbsRel'] > 0
    summary = json.loads((out / 'summary.json').read_text())
    assert summary['model'] == estimator.info.name and summary['scores'] == expected
    for model, code, said in (
        (models['relative_depth'], 1, 'gives relative_depth, not metres'),
        (source, 1, 'net.onnx'),
        (tmp_path / 'none', 2, 'there is no file'),
    ):
        refused = demo(str(bag), '--model', str(model), '--out', str(out))
        assert refused.returncode == code and said in refused.stderr, refused.stderr


def test_a_bag_without_camera_info_gives_depth_and_says_so(tmp_path):
    bag = write_bag(
        tmp_path / 'bag',
        [picture(i, 160, 120) for i in range(4)],
        storage=StoragePlugin.SQLITE3,
        jpeg=False,
        hz=2,
        with_info=False,
    )
    # One file of it is enough.
    result = demo(str(next(bag.glob('*.db3'))), '--out', str(tmp_path / 'out'))
    assert result.returncode == 0, result.stderr
    assert 'no camera_info' in result.stdout
    summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
    assert summary['frames_out']['depth/image'] == 4 and 'scores' not in summary
    assert not (tmp_path / 'out' / 'cloud.ply').exists()


def test_an_error_message_has_no_colour_codes():
    colour, plain = '\x1b[31m', '\x1b[0m'
    said = f'{colour}[ERROR] [1.5] [node]: no model{plain}'
    process = Child([sys.executable, '-c', f'import sys; sys.stderr.write({said!r})'])
    try:
        wait_until(process.ended)
        assert process.complaint() == 'no model'
    finally:
        process.end()


def test_a_wrong_bag_is_one_sentence(tmp_path):
    result = demo(str(tmp_path), '--out', str(tmp_path / 'out'))
    assert result.returncode == 1 and 'Traceback' not in result.stderr
    assert 'metadata.yaml' in result.stderr


def test_an_unwritable_folder_gives_one_sentence(tmp_path):
    (tmp_path / 'file').write_text('')
    result = demo('--out', str(tmp_path / 'file'))
    assert result.returncode == 1 and result.stderr.startswith('demo: cannot write to')


def test_a_terminated_demo_leaves_no_process_and_no_file(tmp_path):
    environment = {**os.environ, 'ROS_DOMAIN_ID': '99'}
    process = subprocess.Popen(
        [sys.executable, '-m', 'depth_perception.demo', '--out', tmp_path],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    children = wait_until(lambda: psutil.Process(process.pid).children())
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143 and 'Traceback' not in said
    # A process that was told to end takes its time on a busy machine.
    assert not psutil.wait_procs(children, timeout=60)[1] and not list(tmp_path.iterdir())
