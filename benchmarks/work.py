# SPDX-License-Identifier: Apache-2.0
"""Count a network's operations and memory traffic, without measuring."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

#: Operations that read their inputs from memory and write their result to it, by the prefix of
#: their name. A good compiler fuses all others (batch normalisation, activations, sums).
MOVING = (
    'convolution',
    'mm',
    'addmm',
    'bmm',
    'baddbmm',
    'max_pool',
    'avg_pool',
    '_adaptive_avg',
    'mean',
    'upsample',
    '_upsample',
    'cat',
    'grid_sampler',
)


@dataclass(frozen=True)
class Work:
    """Work for one image.

    Attributes:
        flops: floating-point operations; a multiply-add counts as two.
        weights: number of parameter values.
        activations: values that the operations in MOVING read and write, except parameters.
        flops_by_kind: of convolutions by kernel (`3x3`, `1x1`, `depthwise`), of the rest `other`.
    """

    flops: int
    weights: int
    activations: int
    flops_by_kind: dict[str, int]

    def bytes(self, itemsize: int) -> int:
        """Return the least memory traffic if no activation stays in a cache."""
        return itemsize * (self.weights + self.activations)


def work(network: nn.Module, size: tuple[int, int]) -> Work:
    """Count the network's work for an image (height, width) without computing it."""
    network = copy.deepcopy(network).eval().to('meta')
    image = torch.empty(1, 3, *size, device='meta')
    moved = _Moved()
    with torch.no_grad(), FlopCounterMode(display=False) as flops, moved:
        network(image)
    weights = sum(parameter.numel() for parameter in network.parameters())
    kinds = Counter(moved.kinds)
    kinds['other'] = flops.get_total_flops() - sum(kinds.values())
    return Work(
        flops.get_total_flops(),
        weights,
        moved.values,
        {kind: count for kind, count in kinds.most_common() if count},
    )


class _Moved(TorchDispatchMode):
    """Count the values that pass through memory, and the operations of each kind of convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.values = 0
        self.kinds: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        function: Any,
        types: Any,
        arguments: tuple[Any, ...] = (),
        keywords: dict[str, Any] | None = None,
    ) -> Any:
        result = function(*arguments, **(keywords or {}))
        if function.__name__.startswith(MOVING):
            self.values += sum(
                tensor.numel() for tensor in (*_activations(arguments), *_tensors(result))
            )
        if function.__name__.startswith('convolution'):
            self._count(arguments[1], result)
        return result

    def _count(self, kernel: Tensor, result: Tensor) -> None:
        _, per_group, height, width = kernel.shape
        kind = 'depthwise' if per_group == 1 else f'{height}x{width}'
        self.kinds[kind] += 2 * result.numel() * math.prod(kernel.shape[1:])


def _activations(arguments: Any) -> Iterator[Tensor]:
    """Yield tensor arguments that are not parameters."""
    return (tensor for tensor in _tensors(arguments) if not isinstance(tensor, nn.Parameter))


def _tensors(tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))
