# SPDX-License-Identifier: Apache-2.0
"""Write small but faithful examples of every data layout.

Pair i is `scene(i)`: its depth has a hole in the upper left corner, the right half is farther than
the left one, and the colour image is brighter there, so that swapped or mirrored axes are detected.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np

HEIGHT, WIDTH = 48, 64


def scene(index: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> tuple[np.ndarray, np.ndarray]:
    """Return RGB uint8 (H, W, 3) and depth in metres with a hole, float32 (H, W)."""
    height, width = size
    rgb = np.full((height, width, 3), (40, 80, 20 + index), np.uint8)
    rgb[:, width // 2 :] = (200, 120, 60)
    depth = np.full((height, width), 1.5 + 0.25 * index, np.float32)
    depth[:, width // 2 :] += 2
    depth[: height // 8, : width // 8] = 0
    return rgb, depth


def filled(depth: np.ndarray) -> np.ndarray:
    return np.where(depth == 0, np.float32(1.25), depth)


def encode(suffix: str, image: np.ndarray) -> bytes:
    """Encode an RGB image as .png or .jpg; OpenCV expects BGR."""
    image = image[..., ::-1] if image.ndim == 3 else image
    return cv2.imencode(suffix, np.ascontiguousarray(image))[1].tobytes()


def millimetres(depth: np.ndarray) -> bytes:
    return encode('.png', np.round(depth * 1000).astype(np.uint16))


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def labeled_mat(file: Path, count: int = 6) -> Path:
    """Write HDF5 with a 512-byte MATLAB 7.3 header and reversed axes."""
    import h5py

    pairs = [scene(index) for index in range(count)]
    rgb, raw = np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs])
    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, 'w', userblock_size=512) as content:
        content['images'] = rgb.transpose(0, 3, 2, 1)
        content['depths'] = filled(raw).transpose(0, 2, 1)
        content['rawDepths'] = raw.transpose(0, 2, 1)
        content['labels'] = np.zeros((count, WIDTH, HEIGHT), np.uint16)
        content['accelData'] = np.zeros((4, count), np.float32)
        content.create_group('#refs#')
    header = b'MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Fri Aug 10 15:58:18 2012'
    with file.open('r+b') as stream:
        stream.write(header.ljust(124) + b'\x00\x02IM')
    return file


def splits_mat(file: Path, train: list[int], test: list[int]) -> Path:
    """Write MATLAB 5.0 with 1-based indices."""
    from scipy.io import savemat

    savemat(
        file,
        {
            'trainNdxs': np.array(train, np.uint16)[:, None] + 1,
            'testNdxs': np.array(test, np.uint16)[:, None] + 1,
        },
    )
    return file


def sync(
    root: Path, scenes: tuple[str, ...] = ('kitchen_0001', 'office_0002'), count: int = 2
) -> Path:
    for number, name in enumerate(scenes):
        for index in range(count):
            rgb, depth = scene(number * count + index)
            write(root / name / f'rgb_{index:05d}.jpg', encode('.jpg', rgb))
            write(root / name / f'sync_depth_{index:05d}.png', millimetres(depth))
    return root


def folders(
    root: Path,
    count: int = 4,
    pictures: str = 'images',
    scale: float = 1000,
    picture_name: str = '{:04d}.jpg',
    depth_name: str = '{:04d}.png',
) -> Path:
    """Write a folder of images next to a folder of depth maps."""
    for index in range(count):
        rgb, depth = scene(index)
        name = picture_name.format(index)
        write(root / pictures / name, encode('.' + name.rpartition('.')[2].lower(), rgb))
        file = root / 'depth' / depth_name.format(index)
        if file.suffix == '.npy':
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, depth)
        else:
            write(file, encode('.png', np.round(depth * scale).astype(np.uint16)))
    return root


def tum(root: Path, count: int = 4) -> Path:
    """TUM RGB-D: names are times, depth comes 11 ms after colour, 5000 units per metre."""
    lists: dict[str, list[str]] = {'rgb': ['# color images'], 'depth': ['# depth maps']}
    for index in range(count):
        rgb, depth = scene(index)
        time = 1305031102.175304 + index / 30
        for kind, when, image in (
            ('rgb', time, rgb),
            ('depth', time + 0.011, np.round(depth * 5000).astype('u2')),
        ):
            write(root / kind / f'{when:.6f}.png', encode('.png', image))
            lists[kind].append(f'{when:.6f} {kind}/{when:.6f}.png')
    for kind, rows in lists.items():
        write(root / f'{kind}.txt', '\n'.join(rows) + '\n')
    return root


def rooms(root: Path, scenes: tuple[str, ...] = ('scene_0', 'scene_1'), count: int = 2) -> Path:
    for number, name in enumerate(scenes):
        rows = ['index,fx,fy,cx,cy,height_m,pitch_deg']
        for index in range(count):
            rgb, depth = scene(number * count + index)
            write(root / name / f'rgb_{index:05d}.jpg', encode('.jpg', rgb))
            write(root / name / f'depth_{index:05d}.png', millimetres(depth))
            rows.append(f'{index},{50 + index},{50 + index},32.0,24.0,1.2,0.0')
        write(root / name / 'cameras.csv', '\n'.join(rows) + '\n')
    return root


def densedepth(root: Path, newline: str = '\n', count: int = 3) -> Path:
    """Write training depth with 8 bits (255 = 10 m), test depth with 16 (mm)."""
    rows: dict[str, list[str]] = {'train': [], 'test': []}
    for split in rows:
        for index in range(count):
            rgb, depth = scene(index)
            depth = filled(depth)
            stem = f'data/nyu2_{split}/{index:05d}'
            png = (
                millimetres(depth)
                if split == 'test'
                else encode('.png', np.round(depth * 25.5).astype(np.uint8))
            )
            rgb_suffix = '_colors.png' if split == 'test' else '.jpg'
            write(root / f'{stem}{rgb_suffix}', encode(rgb_suffix[-4:], rgb))
            write(root / f'{stem}_depth.png', png)
            rows[split].append(f'{stem}{rgb_suffix},{stem}_depth.png')
        write(root / f'data/nyu2_{split}.csv', newline.join(rows[split]) + newline)
    return root


def zipped(folder: Path, file: Path) -> Path:
    with zipfile.ZipFile(file, 'w') as archive:
        for path in sorted(folder.glob('**/*')):
            archive.write(path, path.relative_to(folder))
    return file


def h5_frame(index: int) -> bytes:
    rgb, depth = scene(index)
    return h5_file(rgb.transpose(2, 0, 1), filled(depth))


def h5_file(rgb: np.ndarray, depth: np.ndarray) -> bytes:
    import h5py

    memory = io.BytesIO()
    with h5py.File(memory, 'w') as content:
        content['rgb'], content['depth'] = rgb, depth
    return memory.getvalue()


def h5_frames(root: Path) -> Path:
    for index in range(3):
        write(root / f'train/kitchen_0001/{index + 1:05d}.h5', h5_frame(index))
    write(root / 'val/official/00001.h5', h5_frame(5))
    return root


def h5_tars(root: Path) -> Path:
    """Write several tars per split in `data`, as published on Hugging Face."""
    tars = {'train-000000': [0, 1], 'train-000001': [2], 'val-000000': [5]}
    (root / 'data').mkdir(parents=True)
    for name, indices in tars.items():
        with tarfile.open(root / 'data' / f'{name}.tar', 'w') as archive:
            for index in indices:
                content = h5_frame(index)
                member = tarfile.TarInfo(f'{name[:-7]}/kitchen_0001/{index + 1:05d}.h5')
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return root


def npy_pairs(root: Path, count: int = 3) -> Path:
    for index in range(count):
        rgb, depth = scene(index)
        write(root / f'{index:04d}_rgb.png', encode('.png', rgb))
        np.save(root / f'{index:04d}_dpth.npy', filled(depth))
    return root


def densedepth_test(root: Path, count: int = 2) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    pairs = [scene(index) for index in range(count)]
    np.save(root / 'eigen_test_rgb.npy', np.stack([p[0] for p in pairs]))
    np.save(root / 'eigen_test_depth.npy', np.stack([filled(p[1]) for p in pairs]))
    np.save(root / 'eigen_test_crop.npy', np.array([20, 459, 24, 615]))
    return root


def marigold(root: Path, count: int = 2) -> Path:
    for index in range(count):
        rgb, depth = scene(index)
        folder = root / 'test' / 'bathroom'
        write(folder / f'rgb_{index:04d}.png', encode('.png', rgb))
        write(folder / f'depth_{index:04d}.png', millimetres(depth))
        write(folder / f'filled_{index:04d}.png', millimetres(filled(depth)))
    return root


def pgm(disparity: np.ndarray) -> bytes:
    """Return little-endian pixels after a PGM header, as in raw NYU data."""
    height, width = disparity.shape
    return f'P5 {width} {height} 65535\n'.encode() + disparity.astype('<u2').tobytes()


def ppm(rgb: np.ndarray) -> bytes:
    height, width = rgb.shape[:2]
    return f'P6 {width} {height} 255\n'.encode() + rgb.tobytes()


def kitti_laser(root: Path) -> Path:
    """Write laser files with the points of the annotated depth of `kitti`'s scenes.

    The laser is at the camera's position, and its x is the camera's z.
    """
    axes = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]])
    write(
        root / '2011_09_26/calib_velo_to_cam.txt',
        f'R: {" ".join(map(str, axes.ravel()))}\nT: 0 0 0\n',
    )
    for file in root.glob('*/*/proj_depth/groundtruth/image_02/*.png'):
        depth = cv2.imread(str(file), cv2.IMREAD_UNCHANGED) / 256
        rows, columns = np.nonzero(depth)
        z = depth[rows, columns]
        # According to P_rect_02 below, with pixels counted from 1.
        w = z + 0.003
        x = ((columns + 1) * w - 4.5 - 76.2 * z) / 90.2
        y = ((rows + 1) * w - 0.2 - 21.6 * z) / 90.2
        points = np.stack([z, -x, -y, np.zeros_like(z)], axis=1).astype('<f4')
        drive = root / '2011_09_26' / file.parents[3].name
        write(drive / 'velodyne_points/data' / f'{file.stem}.bin', points.tobytes())
    return root


def kitti(root: Path, drives: int = 2, count: int = 3, size: tuple[int, int] = (48, 160)) -> Path:
    """Write raw drives and annotated depth, 256 units per metre; the last drive is in `val`."""
    for number in range(drives):
        drive = f'2011_09_26_drive_{number + 1:04d}_sync'
        date = root / '2011_09_26'
        write(
            date / 'calib_cam_to_cam.txt',
            'calib_time: 09-Jan-2012 13:57:47\n'
            'R_rect_00: 1 0 0 0 1 0 0 0 1\n'
            f'S_rect_02: {size[1]}.0 {size[0]}.0\n'
            'P_rect_02: 90.2 0 76.2 4.5 0 90.2 21.6 0.2 0 0 1 0.003\n',
        )
        part = 'val' if number == drives - 1 else 'train'
        for index in range(count):
            rgb, depth = scene(number * count + index, size)
            depth = depth * 8
            depth[np.random.default_rng(index).random(size) < 0.8] = 0
            name = f'{index + 5:010d}.png'
            write(date / drive / 'image_02/data' / name, encode('.png', rgb))
            write(
                root / part / drive / 'proj_depth/groundtruth/image_02' / name,
                encode('.png', np.round(depth * 256).astype(np.uint16)),
            )
    return root
