# SPDX-License-Identifier: Apache-2.0
"""bf16 on a CPU: depthwise convolutions in float32, and nothing else of the network changes."""

from __future__ import annotations

import copy

import torch
from torch import nn

from depth_training.train import mixed_precision

CPU = torch.device('cpu')


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 5, groups=8), nn.Conv2d(8, 1, 1))


def trained(precision: str) -> tuple[nn.Module, list[torch.dtype]]:
    model = network()
    mixed_precision.prepare(model, precision, CPU)
    seen: list[torch.dtype] = []
    image = mixed_precision.arranged(torch.randn(2, 3, 16, 20), precision)
    plain = torch.nn.functional.conv2d

    def watched(features, *arguments, **more):
        if features.shape[1] == 8 and arguments[0].shape[1] == 1 and arguments[0].shape[-1] == 5:
            seen.append(features.dtype)
        return plain(features, *arguments, **more)

    torch.nn.functional.conv2d = watched
    try:
        with torch.autocast('cpu', torch.bfloat16, enabled=precision == 'bf16'):
            model(image).float().square().mean().backward()
    finally:
        torch.nn.functional.conv2d = plain
    return model, seen


def test_depthwise_convolutions_compute_in_float32_and_learn_as_in_fp32():
    half, seen = trained('bf16')
    whole, _ = trained('fp32')
    assert seen == [torch.float32]
    assert half.state_dict().keys() == whole.state_dict().keys()
    for ours, exact in zip(half.parameters(), whole.parameters(), strict=True):
        assert (
            torch.nn.functional.cosine_similarity(ours.grad.flatten(), exact.grad.flatten(), dim=0)
            > 0.995
        )


def test_images_are_arranged_for_bf16_alone():
    image = torch.zeros(1, 3, 4, 5)
    assert mixed_precision.arranged(image, 'bf16').stride() != image.stride()
    assert mixed_precision.arranged(image, 'fp32') is image


def test_a_prepared_network_without_autocast_is_the_network():
    model = network()
    prepared = copy.deepcopy(model)
    mixed_precision.prepare(prepared, 'bf16', CPU)
    image = torch.randn(1, 3, 16, 20)
    assert torch.equal(prepared(image), model(image))


def test_auto_is_half_precision_where_there_is_a_gpu():
    assert mixed_precision.resolve('auto', CPU) == 'fp32'
    assert mixed_precision.resolve('auto', torch.device('cuda')) == 'bf16'
    assert mixed_precision.resolve('bf16', CPU) == 'bf16'
