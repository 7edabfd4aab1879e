# SPDX-License-Identifier: Apache-2.0
"""Time a frame on a GPU: from bytes in host memory to depth and the full cloud in host memory.

    python -m benchmarks.gpu_frame                            all figures, about a minute
    python -m benchmarks.gpu_frame --networks resnet_unet_hybrid --size 256x320
    python -m benchmarks.gpu_frame --clip my_bag              half precision on your own frames
    python -m benchmarks.gpu_frame --pack rooms.zip           on packed views, if rosbags is not
                                                              installed

Our implementation alternates with the usual one: plain PyTorch in float32, depth copied to the
host, a cloud by numpy. Prints JSON, and writes it to --out after each part: what is measured stays
there if it is stopped, and `unfinished` names the rest. `failed` names the parts that could not be
measured; then the exit status is 1. It is 2 without a CUDA device. `--device cpu` only tests the
script.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import functools
import importlib.util
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.machine import machine, torch_device
from benchmarks.network import NETWORKS, build, parse_size
from benchmarks.resources import PeakMemory
from benchmarks.results import going_on, write_json
from depth_perception.camera.model import CameraModel
from depth_perception.depth import geometry
from depth_perception.depth.products import ProductMaker
from depth_perception.depth.settings import DepthSettings
from depth_perception.inference.backends.graphs import CudaGraph
from depth_perception.inference.backends.torch_eager import TorchEager
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.inference.transfer import Download, Upload
from depth_perception.io.bag import Bag
from depth_perception.io.weights import WeightsInfo, load_weights
from depth_training.data.layouts.packed import PackedViews

#: Networks measured without the rest of the frame, at this (height, width).
ALONE, ALONE_SIZE = ('efficientnet_sff', 'resnet_unet_hybrid'), (256, 320)
CLIP = Path(__file__).parents[1] / 'data' / 'clip_bag'
#: Image uint8 (H, W, 3) and its depth in metres (H, W), 0 = unknown.
Pair = tuple[NDArray[np.uint8], NDArray]

#: Image uint8 (H, W, 3) -> depth (H, W) and cloud (H, W, 4), all in host memory.
Frame = Callable[[NDArray[np.uint8]], tuple[NDArray, NDArray]]


def ours(
    network: nn.Module,
    info: WeightsInfo,
    camera: CameraModel,
    device: torch.device,
    precision: str,
    graphs: bool = True,
) -> Frame:
    """Return the node's frame, with masks and edge filter; `graphs` False launches each kernel."""
    estimator = DepthEstimator(
        TorchEager(copy.deepcopy(network), device, precision), info, graphs=graphs
    )
    upload, download = Upload(device), Download(device)
    make, settings = ProductMaker(info.max_depth), DepthSettings(point_stride=1)

    def run(rgb: NDArray[np.uint8]) -> tuple[NDArray, NDArray]:
        image = upload(rgb)
        depth = estimator.estimate(image, camera).depth
        products = make(rgb, camera, depth, settings, image=image)
        found = download(
            {'depth': products.depth, 'cloud': products.cloud, 'finite': geometry.all_finite(depth)}
        )
        if estimator.remarks:
            raise RuntimeError(estimator.remarks[0])
        return found['depth'], found['cloud']

    return run


def usual(
    network: nn.Module, info: WeightsInfo, camera: CameraModel, device: torch.device
) -> Frame:
    """Return the frame of most published nodes, without masks or focal correction."""
    network = copy.deepcopy(network).to(device)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (info.mean, info.std))

    @torch.no_grad()
    def run(rgb: NDArray[np.uint8]) -> tuple[NDArray, NDArray]:
        image = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
        image = F.interpolate(image, (info.input_height, info.input_width), mode='bilinear')
        depth = network(((image - mean) / std).to(device))
        depth = F.interpolate(depth, rgb.shape[:2], mode='bilinear')[0, 0].cpu().numpy()
        return depth, _numpy_cloud(depth, rgb, camera)

    return run


def _numpy_cloud(depth: NDArray, rgb: NDArray[np.uint8], camera: CameraModel) -> NDArray:
    rows, columns = np.mgrid[: camera.height, : camera.width]
    x = (columns - camera.cx) * depth / camera.fx
    y = (rows - camera.cy) * depth / camera.fy
    colour = rgb.astype(np.uint32)
    packed = (colour[..., 0] << 16 | colour[..., 1] << 8 | colour[..., 2]).view(np.float32)
    return np.stack([x, y, depth, packed], axis=-1).astype(np.float32)


def frames(name: str, size: tuple[int, int], rounds: int, device: torch.device) -> dict[str, Any]:
    """Alternate our frame and the usual one; return milliseconds and the speed-up."""
    network, info = _network(name, size)
    height, width = size
    camera = CameraModel(width, height, 0.8 * width, 0.8 * width, width / 2, height / 2)
    precisions = ('fp16', 'bf16', 'fp32') if device.type == 'cuda' else ('fp32',)
    runs = {precision: ours(network, info, camera, device, precision) for precision in precisions}
    if device.type == 'cuda':
        runs['fp16 without graphs'] = ours(network, info, camera, device, 'fp16', graphs=False)
    runs['usual'] = usual(network, info, camera, device)
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    first, peaks = {}, {}
    for way, run in runs.items():
        memory = PeakMemory(device)
        first[way] = _milliseconds(run, rgb)
        peaks[way] = memory.growth_mb()
    times: dict[str, list[float]] = {way: [] for way in runs}
    for way, run in itertools.chain(*itertools.repeat(list(runs.items()), rounds)):
        times[way].append(_milliseconds(run, rgb))
    base = np.array(times['usual'])
    return {
        'network': name,
        'size': _text(size),
        'ways': {
            way: {
                'first_ms': first[way],
                'peak_mb': peaks[way],
                **summary(values),
                'times_faster': float(np.median(base / np.array(values))),
            }
            for way, values in times.items()
        },
    }


def _network(name: str, size: tuple[int, int]) -> tuple[nn.Module, WeightsInfo]:
    """Create a network for that input size, with random weights except for `default`."""
    info = dataclasses.replace(
        load_weights(None).info, output='metres', input_height=size[0], input_width=size[1]
    )
    return build(name).eval().requires_grad_(False), info


def _milliseconds(run: Frame, rgb: NDArray[np.uint8]) -> float:
    start = time.perf_counter()
    run(rgb)
    return 1000 * (time.perf_counter() - start)


def summary(milliseconds: list[float]) -> dict[str, float]:
    """Return median, 95th and 99th percentile."""
    median, p95, p99 = np.percentile(milliseconds, (50, 95, 99))
    return {'median_ms': float(median), 'p95_ms': float(p95), 'p99_ms': float(p99)}


def alone(name: str, size: tuple[int, int], rounds: int, device: torch.device) -> dict[str, Any]:
    """Time only the network in half precision, from input to output on the device."""
    backend = TorchEager(build(name).eval().requires_grad_(False), device, 'fp16')
    image = torch.randn(1, 3, *size, device=device)
    times = (
        _gpu_times(backend, image, rounds)
        if device.type == 'cuda'
        else [_milliseconds(backend.run, image) for _ in range(rounds)]
    )
    return {'network': name, 'size': _text(size), 'precision': backend.precision, **summary(times)}


@torch.inference_mode()
def _gpu_times(backend: TorchEager, image: Tensor, rounds: int) -> list[float]:
    """Time a CUDA graph by the GPU's clock."""
    graph = CudaGraph(lambda *_: backend.run(image), (1, 1, 3), image.device)
    marks = [
        (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
        for _ in range(rounds)
    ]
    for begin, end in marks:
        begin.record()
        graph.replay()
        end.record()
    torch.cuda.synchronize()
    return [begin.elapsed_time(end) for begin, end in marks]


def half_precision(pairs: list[Pair], device: torch.device) -> dict[str, Any]:
    """Return AbsRel of the bundled network in each precision, on frames with ground truth."""
    scores = {}
    for precision in ('fp32', 'fp16', 'bf16'):
        estimator = DepthEstimator.load(None, str(device), precision, 'torch')
        scores[precision] = float(
            np.mean(
                [
                    np.mean(np.abs(estimator.infer(rgb) - truth)[truth > 0] / truth[truth > 0])
                    for rgb, truth in pairs
                ]
            )
        )
    return {
        'frames': len(pairs),
        'AbsRel': scores,
        'fp16_difference': abs(scores['fp16'] - scores['fp32']),
        'bf16_difference': abs(scores['bf16'] - scores['fp32']),
    }


def pairs_with_truth(options: argparse.Namespace) -> list[Pair]:
    """Return frames of the packed views or of the clip."""
    if options.pack is None:
        return list(itertools.islice(_with_truth(options.clip), options.frames))
    views = PackedViews(options.pack, 'test')
    count = min(options.frames, len(views))
    samples = (views[index * len(views) // count] for index in range(count))
    return [(sample.rgb, sample.depth) for sample in samples]


def _with_truth(clip: Path) -> Iterator[tuple[NDArray[np.uint8], NDArray]]:
    """Yield images uint8 (H, W, 3) of a bag, and `truth/<stamp>.png` converted to metres."""
    with Bag(clip) as bag:
        for record in bag.messages([bag.image_topic().name]):
            message = bag.deserialize(record)
            stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            truth = cv2.imread(str(clip / 'truth' / f'{stamp}.png'), cv2.IMREAD_UNCHANGED)
            if truth is not None:
                picture = cv2.imdecode(np.asarray(message.data, np.uint8), cv2.IMREAD_COLOR)
                yield np.ascontiguousarray(picture[..., ::-1]), truth / 1000


def _text(size: tuple[int, int]) -> str:
    return f'{size[0]}x{size[1]}'


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--networks', nargs='+', default=['default', *ALONE], choices=list(NETWORKS)
    )
    parser.add_argument(
        '--size',
        type=parse_size,
        default=(480, 640),
        metavar='HEIGHTxWIDTH',
        help="size of the image and of the network's input",
    )
    parser.add_argument('--rounds', type=int, default=300)
    parser.add_argument(
        '--clip',
        type=Path,
        default=CLIP,
        help='bag of compressed images with a folder truth, like data/clip_bag',
    )
    parser.add_argument(
        '--pack', type=Path, help='use frames from a file by scripts/pack_rooms instead'
    )
    parser.add_argument(
        '--frames', type=int, default=50, help='number of frames of the clip or the packed views'
    )
    parser.add_argument('--device', default='cuda', help='cuda, cuda:N; cpu only tests the script')
    parser.add_argument(
        '--autotune',
        action='store_true',
        help='let cuDNN try its algorithms (torch.backends.cudnn.benchmark)',
    )
    parser.add_argument('--out', type=Path, help='file to write the JSON to as well')
    options = parser.parse_args(arguments)
    if options.device != 'cpu' and not torch.cuda.is_available():
        sys.stderr.write(
            'gpu_frame: there is no CUDA device; --device cpu tests the script, but '
            'its figures do not apply to a GPU\n'
        )
        return 2
    try:
        options.device = torch_device(options.device)
    except argparse.ArgumentTypeError as error:
        parser.error(f'argument --device: {error}')
    torch.backends.cudnn.benchmark = options.autotune
    found: dict[str, Any] = {}
    for found in _measure(options):
        if options.out:
            write_json(options.out, found)
    print(json.dumps(found, indent=1))
    return 1 if found['failed'] else 0


def _measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield all that is measured so far, after each part."""
    device = options.device
    found: dict[str, Any] = {
        'machine': machine(),
        'device': str(device),
        'rounds': options.rounds,
        'autotune': options.autotune,
        'unfinished': [],
        'failed': {},
        'half_precision': None,
        'frame': [],
        'network_alone': [],
    }
    parts = list(_parts(options, device, found))
    for index, (name, measure) in enumerate(parts, 1):
        with going_on(found['failed'], name):
            measure()
        found['unfinished'] = [name for name, _ in parts[index:]]
        yield found


def _parts(
    options: argparse.Namespace, device: torch.device, found: dict[str, Any]
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the name of each part, and a function that measures it and adds it to `found`."""

    def half() -> None:
        found['half_precision'] = half_precision(pairs_with_truth(options), device)

    def frame(name: str) -> None:
        found['frame'].append(frames(name, options.size, options.rounds, device))

    def network(name: str) -> None:
        size = min(ALONE_SIZE, options.size)
        found['network_alone'].append(alone(name, size, options.rounds, device))

    if options.pack is None and importlib.util.find_spec('rosbags') is None:
        sys.stderr.write(
            'gpu_frame: half precision is skipped, as the package rosbags is not installed to read '
            f'{options.clip}: give --pack, or pip install rosbags\n'
        )
    else:
        yield 'half precision', half
    for name in options.networks:
        yield f'frame of {name}', functools.partial(frame, name)
    for name in options.networks:
        if name in ALONE:
            yield f'{name} alone', functools.partial(network, name)


if __name__ == '__main__':
    sys.exit(main())
