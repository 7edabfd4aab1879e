# SPDX-License-Identifier: Apache-2.0
"""Losses against closed forms, kornia, finite differences and hostile input."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from depth_training.losses import losses
from depth_training.losses.losses import ReciprocalLoss, WeightedSum
from depth_training.losses.perceptual import PerceptualLoss


def silog_rooted(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    return losses.silog(pred, target, valid, lam=0.85, root=True, scale=10)


def silog_root_half(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    return losses.silog(pred, target, valid, lam=0.5, root=True)


def silog_gradient_ssim(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    return losses.silog_gradient(pred, target, valid, ssim_weight=0.3)


ALL = [
    losses.mse,
    losses.l1,
    losses.berhu,
    losses.silog,
    silog_rooted,
    losses.gradient,
    losses.ssim,
    losses.densedepth,
    losses.log_gradient,
    losses.log_l1,
    losses.log_l1_gradient,
    losses.abs_rel,
    losses.abs_rel_gradient,
    silog_gradient_ssim,
]


def depths(*shape: int, dtype=torch.float32, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 8 + 0.5


def images(dtype=torch.float32, size: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Prediction, target and a mask with one hole in a corner (so that SSIM keeps windows)."""
    valid = torch.ones(2, 1, size, size, dtype=torch.bool)
    valid[0, 0, :3, :3] = False
    return (
        depths(2, 1, size, size, dtype=dtype),
        depths(2, 1, size, size, dtype=dtype, seed=1),
        valid,
    )


def test_mse_and_l1_are_means_over_valid_pixels():
    pred, target, valid = images()
    d = (pred - target)[valid]
    torch.testing.assert_close(losses.mse(pred, target, valid), (d**2).mean())
    torch.testing.assert_close(losses.l1(pred, target, valid), d.abs().mean())


def test_berhu_is_linear_up_to_a_fifth_of_the_largest_error_and_quadratic_beyond():
    pred = torch.tensor([0.1, 0.2, 0.5, 1.0, 99.0]).view(1, 1, 1, 5)
    valid = torch.tensor([1, 1, 1, 1, 0]).bool().view(1, 1, 1, 5)
    c = 0.2
    wanted = (0.1 + 0.2 + (0.5**2 + c**2) / (2 * c) + (1 + c**2) / (2 * c)) / 4
    assert losses.berhu(pred, torch.zeros_like(pred), valid).item() == pytest.approx(wanted)


def test_berhu_threshold_comes_from_the_whole_batch():
    pred = torch.tensor([0.5, 10.0]).view(2, 1, 1, 1)
    valid = torch.ones_like(pred, dtype=torch.bool)
    loss = losses.berhu(pred, torch.zeros_like(pred), valid)
    assert loss.item() == pytest.approx((0.5 + (100 + 4) / 4) / 2)


def test_berhu_of_an_exact_prediction_is_zero_with_zero_gradient():
    pred = depths(1, 1, 4, 4).requires_grad_()
    loss = losses.berhu(pred, pred.detach().clone(), torch.ones_like(pred, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert pred.grad.abs().max() == 0


def test_silog_variants():
    pred, target, valid = images()
    d = (pred.log() - target.log())[valid]
    plain = (d**2).mean() - 0.5 * d.mean() ** 2
    torch.testing.assert_close(losses.silog(pred, target, valid), plain)
    torch.testing.assert_close(
        silog_rooted(pred, target, valid), 10 * ((d**2).mean() - 0.85 * d.mean() ** 2).sqrt()
    )
    ratio = plain / losses.silog(pred, target, valid, base='10')
    assert ratio.item() == pytest.approx(math.log(10) ** 2, rel=1e-5)
    assert math.log(10) ** 2 == pytest.approx(5.302, abs=5e-4)


def test_log_gradient_is_the_mean_step_of_the_log_error():
    target = torch.ones(1, 1, 8, 8)
    pred = torch.exp(0.1 * torch.arange(8.0)).expand(1, 1, 8, 8)  # steps of 0.1 to the right
    everywhere = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    assert losses.log_gradient(pred, target, everywhere, scales=1).item() == pytest.approx(0.1)
    # Strides 1 and 2 see steps of 0.1 and 0.2.
    assert losses.log_gradient(pred, target, everywhere, scales=2).item() == pytest.approx(0.15)
    assert losses.log_gradient(3 * target, target, everywhere).item() == pytest.approx(0, abs=1e-6)
    both = losses.silog(pred, target, everywhere, root=True) + 0.5 * losses.log_gradient(
        pred, target, everywhere
    )
    torch.testing.assert_close(losses.silog_gradient(pred, target, everywhere), both)


def test_log_l1_is_the_mean_size_of_the_log_error():
    target = depths(1, 1, 8, 8)
    valid = torch.ones_like(target, dtype=torch.bool)
    pred = target * torch.exp(torch.tensor([0.1, -0.3])).repeat(4)
    assert losses.log_l1(pred, target, valid).item() == pytest.approx(0.2)
    both = losses.log_l1(pred, target, valid) + 0.5 * losses.log_gradient(pred, target, valid)
    torch.testing.assert_close(losses.log_l1_gradient(pred, target, valid), both)


def test_abs_rel_is_the_score_and_too_far_costs_more_than_too_near():
    target = depths(1, 1, 8, 8)
    valid = torch.ones_like(target, dtype=torch.bool)
    assert losses.abs_rel(1.5 * target, target, valid).item() == pytest.approx(0.5)
    assert losses.abs_rel(target / 1.5, target, valid).item() == pytest.approx(1 / 3)
    smooth = losses.abs_rel_gradient(1.5 * target, target, valid)
    assert smooth.item() == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize(
    'loss, alone',
    [
        (losses.silog_gradient, silog_root_half),
        (losses.log_l1_gradient, losses.log_l1),
        (losses.abs_rel_gradient, losses.abs_rel),
    ],
)
def test_shape_terms_come_on_top_of_a_loss(loss, alone):
    pred, target, valid = images()
    wanted = (
        alone(pred, target, valid)
        + 0.2 * losses.log_gradient(pred, target, valid)
        + 0.3 * losses.ssim(pred, target, valid, max_val=10)
    )
    value = loss(pred, target, valid, gradient_weight=0.2, ssim_weight=0.3)
    torch.testing.assert_close(value, wanted)


def test_images_of_a_batch_do_not_mix_in_ssim():
    pred, target, valid = images()
    alone = [
        losses.ssim(pred[i : i + 1], target[i : i + 1], torch.ones_like(valid[:1]))
        for i in range(2)
    ]
    together = losses.ssim(pred, target, torch.ones_like(valid))
    torch.testing.assert_close(together, sum(alone) / 2)
    assert abs(alone[0] - alone[1]) > 1e-5


def test_silog_with_lambda_one_ignores_a_common_factor():
    target = depths(1, 1, 8, 8)
    valid = torch.ones_like(target, dtype=torch.bool)
    assert losses.silog(3 * target, target, valid, lam=1).item() == pytest.approx(0, abs=1e-6)


def test_gradient_loss_counts_only_pairs_of_valid_neighbours():
    pred = torch.tensor([[1.0, 2.0, 4.0], [1.0, 1.0, 7.0]]).view(1, 1, 2, 3)
    target = torch.zeros_like(pred)
    every = torch.ones_like(pred, dtype=torch.bool)
    assert losses.gradient(pred, target, every).item() == pytest.approx(
        (1 + 2 + 0 + 6 + 0 + 1 + 3) / 6
    )
    valid = every.clone()
    valid[0, 0, 1, 2] = False
    assert losses.gradient(pred, target, valid).item() == pytest.approx((1 + 2 + 0 + 0 + 1) / 5)


def test_ssim_equals_kornia():
    kornia = pytest.importorskip('kornia')
    pred, target, _ = (x.double() * 10 for x in images(size=24))
    every = torch.ones_like(pred, dtype=torch.bool)
    wanted = kornia.metrics.ssim(pred, target, 11, max_val=100.0, padding='valid')
    torch.testing.assert_close(
        losses.ssim(pred, target, every), ((1 - wanted) / 2).mean(), rtol=1e-8, atol=1e-9
    )


def test_ssim_ignores_every_window_that_touches_a_hole():
    pred, target, valid = images(size=24)
    valid[:] = True
    valid[0, 0, 5, 6] = False
    changed = pred.clone()
    changed[0, 0, 5, 6] = 1e6
    before, after = (losses.ssim(p, target, valid) for p in (pred, changed))
    assert before.item() == after.item()


def test_ssim_refuses_images_smaller_than_its_window():
    small = torch.ones(1, 1, 10, 20)
    with pytest.raises(ValueError, match='11x11'):
        losses.ssim(small, small, small > 0)


def test_densedepth_sum_and_target():
    pred, target, valid = images()
    assert losses.densedepth(pred, target, valid).item() == pytest.approx(
        losses.ssim(pred, target, valid).item()
        + losses.gradient(pred, target, valid).item()
        + 0.1 * losses.l1(pred, target, valid).item(),
        rel=1e-6,
    )
    assert losses.reciprocal(
        torch.tensor([0.0, 0.1, 1.0, 4.0, 10.0, 50.0])
    ).tolist() == pytest.approx([100, 100, 10, 2.5, 1, 1])
    wrapped = ReciprocalLoss()(pred, target, valid)
    assert wrapped.item() == losses.densedepth(pred, losses.reciprocal(target), valid).item()


def test_weighted_sum():
    pred, target, valid = images()
    both = WeightedSum((1.0, losses.l1), (0.5, losses.mse))(pred, target, valid)
    wanted = losses.l1(pred, target, valid) + 0.5 * losses.mse(pred, target, valid)
    torch.testing.assert_close(both, wanted)


@pytest.mark.parametrize('loss', ALL, ids=lambda loss: loss.__name__)
def test_gradient_agrees_with_finite_differences(loss):
    pred, target, valid = images(torch.float64, size=12)
    # BerHu's threshold has no gradient, so the largest error must not be varied.
    pred[1, 0, 11, 11] = 30
    free = pred[:1].clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda part: loss(torch.cat([part, pred[1:]]), target, valid),
        free,
        eps=1e-6,
        atol=1e-5,
        fast_mode=True,
    )


@pytest.mark.parametrize('loss', ALL, ids=lambda loss: loss.__name__)
@pytest.mark.parametrize('junk', [0.0, -1.0, math.inf, math.nan])
def test_invalid_pixels_change_neither_value_nor_gradient(loss, junk):
    pred, target, valid = images()
    clean = pred.clone().requires_grad_()
    loss(clean, target, valid).backward()
    dirty = torch.where(valid, pred, junk).requires_grad_()
    value = loss(dirty, torch.where(valid, target, junk), valid)
    value.backward()
    assert value.item() == pytest.approx(loss(pred, target, valid).item())
    torch.testing.assert_close(dirty.grad, clean.grad)
    assert (dirty.grad[~valid] == 0).all()


@pytest.mark.parametrize('loss', ALL, ids=lambda loss: loss.__name__)
def test_without_a_valid_pixel_the_loss_is_zero_and_so_is_its_gradient(loss):
    pred, target, valid = images()
    pred.requires_grad_()
    value = loss(pred, target, torch.zeros_like(valid))
    value.backward()
    assert value.item() == 0
    assert (pred.grad == 0).all()


@pytest.mark.parametrize('loss', ALL, ids=lambda loss: loss.__name__)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(loss, dtype):
    pred, target, valid = images()
    half = pred.to(dtype)
    with torch.autocast('cpu', torch.bfloat16):
        value = loss(half, target, valid)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(half.float(), target, valid))


def test_zero_predictions_keep_the_logarithm_finite():
    pred = torch.zeros(1, 1, 4, 4, requires_grad=True)
    value = silog_rooted(pred, torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 4, dtype=torch.bool))
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(pred.grad).all()


def test_rooted_silog_of_an_exact_prediction_has_a_finite_gradient():
    pred = depths(1, 1, 4, 4).requires_grad_()
    valid = torch.ones_like(pred, dtype=torch.bool)
    silog_rooted(pred, pred.detach().clone(), valid).backward()
    assert torch.isfinite(pred.grad).all()


def test_valid_mask_is_an_open_interval():
    depth = torch.tensor([0.0, 1e-3, 0.5, 9.99, 10.0, 11.0, math.nan])
    assert losses.valid_mask(depth).tolist() == [False, False, True, True, False, False, False]


@pytest.fixture(scope='module')
def perceptual() -> PerceptualLoss:
    torch.manual_seed(0)
    return PerceptualLoss(None)


def test_perceptual_network_is_the_papers_frozen_and_hidden(perceptual):
    network = perceptual._hidden[0]
    assert sum(p.numel() for p in network.parameters()) == 1_444_928
    assert not any(p.requires_grad for p in network.parameters())
    assert not list(perceptual.parameters()) and not perceptual.state_dict()
    perceptual.train()
    assert not any(module.training for module in network.modules())
    assert next(perceptual.to(torch.float64)._hidden[0].parameters()).dtype == torch.float64
    perceptual.float()


def test_perceptual_loss_is_the_mean_feature_distance(perceptual):
    pred, target, _ = images(size=64)
    every = torch.ones_like(pred, dtype=torch.bool)
    pairs = zip(perceptual._features(pred), perceptual._features(target))
    wanted = sum(((a - b) ** 2).mean() for a, b in pairs) / 2
    torch.testing.assert_close(perceptual(pred, target, every), wanted)
    assert [tuple(f.shape[1:]) for f in perceptual._features(pred)] == [(256, 16, 16), (512, 8, 8)]


def test_holes_give_no_perceptual_gradient(perceptual):
    pred = depths(1, 1, 32, 32).requires_grad_()
    perceptual(pred, torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32).bool()).backward()
    assert (pred.grad == 0).all()
    valid = torch.zeros(1, 1, 32, 32).bool()
    valid[..., 4:8] = True
    value = perceptual(pred, depths(1, 1, 32, 32, seed=1), valid)
    value.backward()
    assert value > 0 and pred.grad.abs().sum() > 0


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_perceptual_weights_come_from_a_local_file(perceptual, tmp_path, suffix):
    from safetensors.torch import save_file

    file = tmp_path / f'resnet50{suffix}'
    state = {**perceptual._hidden[0].state_dict(), 'fc.bias': torch.zeros(1000)}
    torch.save(state, file) if suffix == '.pth' else save_file(state, file)
    loaded = PerceptualLoss(file)._hidden[0].state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in loaded)
    other = tmp_path / 'other.safetensors'
    save_file({'fc.bias': torch.zeros(1000)}, other)
    with pytest.raises(ValueError, match=r'other\.safetensors is not a ResNet-50'):
        PerceptualLoss(other)


def test_perceptual_features_are_torchvisions(tmp_path):
    torchvision = pytest.importorskip('torchvision')
    network = torchvision.models.resnet50(weights=None).eval()
    torch.save(network.state_dict(), tmp_path / 'resnet50.pth')
    loss = PerceptualLoss(tmp_path / 'resnet50.pth')
    depth = depths(1, 1, 32, 32)
    image = ((depth / 10).expand(-1, 3, -1, -1) - loss.mean) / loss.std
    with torch.no_grad():
        stem = network.maxpool(network.relu(network.bn1(network.conv1(image))))
        first = network.layer1(stem)
        wanted = [first, network.layer2(first)]
        for mine, theirs in zip(loss._features(depth), wanted):
            torch.testing.assert_close(mine, theirs)


def test_perceptual_gradient_agrees_with_finite_differences(perceptual):
    pred, target, _ = images(torch.float64, size=32)
    every = torch.ones_like(pred, dtype=torch.bool)
    double = perceptual.double()
    assert torch.autograd.gradcheck(
        lambda p: double(p, target, every),
        pred.requires_grad_(),
        eps=1e-6,
        atol=1e-5,
        fast_mode=True,
    )
    perceptual.float()


def test_pickled_networks_are_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / 'network.model')
    with pytest.raises(ValueError, match=r'network\.model is a pickle'):
        PerceptualLoss(tmp_path / 'network.model')
