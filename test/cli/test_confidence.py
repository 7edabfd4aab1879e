# SPDX-License-Identifier: Apache-2.0
"""`predict --confidence` and `--min-confidence`."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from depth_perception.cli.main import main
from depth_perception.io.weights import save_weights
from test.support.weights import tiny_info, tiny_network, unsure_info, unsure_network


@pytest.fixture
def command(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), picture)
    save_weights(tmp_path / 'unsure.safetensors', unsure_network(), unsure_info())
    save_weights(tmp_path / 'tiny.safetensors', tiny_network(), tiny_info())

    def run(model: str, *more: str) -> int:
        words = ['predict', tmp_path / 'a.png', '--out', tmp_path / 'out', *more]
        words += ['--model', tmp_path / f'{model}.safetensors', '--backend', 'torch']
        return main([*map(str, words), '--device', 'cpu', '--precision', 'fp32'])

    return run


def test_it_is_written_beside_the_depth(command, tmp_path):
    assert command('unsure', '--confidence', '--npy') == 0
    values = np.load(tmp_path / 'out/a_confidence.npy')
    assert values.dtype == np.float32 and values.shape == (60, 80)
    drawn = cv2.imread(str(tmp_path / 'out/a_confidence.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(drawn / 255, values, atol=0.5 / 255 + 1e-6)
    plain = np.load(tmp_path / 'out/a_depth.npy')
    least = float(np.median(values))
    assert command('unsure', '--npy', f'--min-confidence={least}') == 0
    masked = np.load(tmp_path / 'out/a_depth.npy')
    np.testing.assert_array_equal(np.isnan(masked), values < np.float32(least))
    np.testing.assert_array_equal(masked[values >= least], plain[values >= least])


@pytest.mark.parametrize(
    'option, text',
    [
        ('--confidence', '--confidence: tiny gives no confidence'),
        (
            '--min-confidence=0.5',
            'min_confidence 0.5 needs the confidence of the network, which',
        ),
    ],
)
def test_a_network_without_it_says_so(command, capsys, option, text):
    assert command('tiny', option) == 2
    assert text in capsys.readouterr().err
