# SPDX-License-Identifier: Apache-2.0
"""MixStyle: features of two pictures exchange mean and deviation, in training alone."""

from __future__ import annotations

import pytest
import torch

from depth_perception.networks import create_network
from depth_training.augment import mix_style
from depth_training.recipes import get_recipe


def style(features: torch.Tensor) -> torch.Tensor:
    """Return mean and deviation, (2, B, C)."""
    return torch.stack([features.mean((2, 3)), features.std((2, 3))])


def features(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return features (4, 3, 5, 7) of pictures with different styles."""
    generator = torch.Generator().manual_seed(3)
    factor, offset = torch.rand(2, 4, 3, 1, 1, generator=generator) * 5 + 0.5
    return (torch.randn(4, 3, 5, 7, generator=generator) * factor + offset).to(dtype)


def test_styles_are_between_those_of_two_pictures_and_the_content_stays():
    before = features()
    weights, partners = torch.tensor([0.0, 0.25, 0.5, 1.0]), torch.tensor([2, 0, 3, 1])
    after = mix_style.mix(before, weights.view(4, 1, 1, 1), partners)
    share = weights[:, None]
    expected = share * style(before) + (1 - share) * style(before)[:, partners]
    assert torch.allclose(style(after), expected, atol=1e-4)
    for one, other in zip(before.flatten(0, 1), after.flatten(0, 1)):
        assert torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1] > 0.99999
    assert torch.allclose(after[3], before[3], atol=1e-5), 'a weight of 1 keeps the own style'


def test_the_hook_mixes_in_training_mode_in_its_share_of_the_batches_as_the_seed_says():
    layer, before = torch.nn.Identity(), features(torch.bfloat16)
    layer.register_forward_hook(mix_style.MixStyle(0.5))

    def outputs() -> list[torch.Tensor]:
        torch.manual_seed(1)
        return [layer(before) for _ in range(100)]

    mixed = outputs()
    assert 35 < sum(not torch.equal(after, before) for after in mixed) < 65
    assert mixed[0].dtype == torch.bfloat16
    assert all(torch.equal(one, other) for one, other in zip(mixed, outputs()))
    layer.eval()
    assert all(torch.equal(after, before) for after in outputs())


def test_no_gradient_flows_to_the_partner():
    before = features().requires_grad_()
    after = mix_style.mix(before, torch.zeros(4, 1, 1, 1), torch.tensor([1, 0, 3, 2]))
    (after[0] ** 2).sum().backward()
    assert before.grad is not None
    assert before.grad[0].abs().max() > 0 and before.grad[1:].abs().max() == 0


def test_other_encoders_are_refused():
    with pytest.raises(ValueError, match=r'no stage blocks\.0 for MixStyle: choose a recipe whose'):
        mix_style.attach(torch.nn.Linear(1, 1), 0.5)


def test_the_bundled_recipes_can_mix():
    for name in ('bundled_packed', 'bundled_continued', 'bundled_continued_small'):
        recipe = get_recipe(name)
        mix_style.attach(create_network(recipe.network, **recipe.network_arguments), 0.5)
