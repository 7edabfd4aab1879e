# SPDX-License-Identifier: Apache-2.0
"""A run trains, writes all its files, and reports errors in one sentence."""

from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from depth_perception.io.weights import load_weights
from depth_training import cli
from depth_training.data import open_dataset
from depth_training.evaluate.evaluation import Predictor
from depth_training.evaluate.geometry import look
from depth_training.recipes import RECIPES
from depth_training.train import build, checkpoint, run_folder, trainer
from depth_training.train import run_log as journal
from depth_training.train.commit import commit
from depth_training.train.sampler import BatchOrder
from depth_training.train.validation import Validation
from test.support import layouts
from test.support.tiny_training import TINY, words


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, 'tiny', TINY)
    return layouts.sync(tmp_path / 'data', ('kitchen', 'office'), 8)


def losses_of(folder: Path) -> list[float]:
    return [row['loss'] for row in journal.read(folder) if row['kind'] == 'train']


def test_a_run_learns_and_writes_weights_log_and_pictures(data, tmp_path, capsys):
    out = tmp_path / 'run'
    more = ('--epochs', '4', '--learning-rate', '0.01', '--workers', '1')
    assert cli.main(words(data, out, *more)) == 0
    losses = losses_of(out)
    assert len(losses) == 8 and losses[-1] < losses[0]
    loaded = load_weights(out / 'weights.safetensors')
    made_by = f', commit {commit()}' if commit() else ''
    changes = '--set learning_rate=0.01 --set epochs=4'
    assert loaded.info.recipe == f'python -m depth_training train tiny {changes}{made_by}'
    assert loaded.info.scores[0]['RMSE'] > 0
    assert len(list((out / 'pictures').glob('*.png'))) == 4
    said = capsys.readouterr().err
    assert 'sync layout, 8 pairs' in said and 'AbsRel' in said
    assert cli.main(words(data, out, *more)) == 1
    assert 'already contains a run: add --resume' in capsys.readouterr().err


def test_fast_dev_run_is_two_steps(data, tmp_path):
    assert cli.main(words(data, tmp_path / 'run', '--fast-dev-run')) == 0
    assert len(losses_of(tmp_path / 'run')) == 2
    assert checkpoint.exists(tmp_path / 'run')


def test_bf16_trains_too(data, tmp_path):
    out = tmp_path / 'run'
    assert cli.main(words(data, out, '--fast-dev-run', '--precision', 'bf16')) == 0
    assert np.isfinite(losses_of(out)).all()


@pytest.mark.parametrize(
    'more, sentence',
    [
        (['--batch', '9'], 'a batch of 9 is more than the 8 training pairs'),
        (['--hold-out', 'attic'], "has no scene 'attic' to hold out"),
        (['--start-from', 'absent.safetensors'], 'cannot use weights absent.safetensors'),
    ],
)
def test_what_is_wrong_is_one_sentence(data, tmp_path, capsys, more, sentence):
    assert cli.main(words(data, tmp_path / 'run', *more)) == 1
    said = capsys.readouterr().err
    assert sentence in said and 'Traceback' not in said


@pytest.mark.parametrize('workers', ['0', '1'])
def test_dead_data_is_one_sentence(data, tmp_path, capsys, monkeypatch, workers):
    from depth_training.data import DataError, pairs
    from depth_training.train import training_data as training

    read = pairs.PairFiles.read

    def dead(self, index):
        if torch.utils.data.get_worker_info() is not None or training_now:
            raise DataError('disk.png cannot be read')
        return read(self, index)

    training_now = False
    start = training.TrainingData.set_epoch

    def starting(self, epoch):
        nonlocal training_now
        training_now = True
        start(self, epoch)

    monkeypatch.setattr(pairs.PairFiles, 'read', dead)
    monkeypatch.setattr(training.TrainingData, 'set_epoch', starting)
    assert cli.main(words(data, tmp_path / 'run', '--workers', workers)) == 1
    assert 'depth_training: disk.png cannot be read\n' in capsys.readouterr().err


def test_a_full_disk_is_one_sentence_and_the_checkpoint_before_stays(
    data, tmp_path, capsys, monkeypatch
):
    out, write, calls = tmp_path / 'run', checkpoint.write_atomically, []

    def full(path, parts):
        calls.append(path)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, 'No space left on device')
        write(path, parts)

    monkeypatch.setattr(checkpoint, 'write_atomically', full)
    assert cli.main(words(data, out)) == 1
    said = capsys.readouterr().err
    assert f'cannot write the checkpoint to {out}: No space left on device' in said
    monkeypatch.setattr(checkpoint, 'write_atomically', write)
    assert cli.main(words(data, out, '--resume')) == 0
    assert len(losses_of(out)) == 6


def test_weights_that_could_not_be_written_are_written_by_resume(
    data, tmp_path, capsys, monkeypatch
):
    whole, stopped = tmp_path / 'whole', tmp_path / 'stopped'
    assert cli.main(words(data, whole, '--epochs', '2')) == 0
    write = trainer.save_weights

    def full(path, network, info):
        if len(losses_of(stopped)) == 4:  # of the last epoch
            raise OSError(errno.ENOSPC, 'No space left on device')
        write(path, network, info)

    monkeypatch.setattr(trainer, 'save_weights', full)
    assert cli.main(words(data, stopped, '--epochs', '2')) == 1
    assert 'cannot write the weights' in capsys.readouterr().err
    monkeypatch.setattr(trainer, 'save_weights', write)
    assert cli.main(words(data, stopped, '--epochs', '2', '--resume')) == 0
    names = (run_folder.WEIGHTS, run_folder.BEST)
    tensors = [[load_file(run / name) for name in names] for run in (whole, stopped)]
    for expected, found in zip(*tensors):
        assert all(torch.equal(expected[name], found[name]) for name in expected)
    (stopped / run_folder.WEIGHTS).unlink()
    assert cli.main(words(data, stopped, '--epochs', '2', '--resume')) == 0
    again = load_file(stopped / run_folder.WEIGHTS)
    assert all(torch.equal(tensors[0][0][name], again[name]) for name in again)


def test_a_name_that_is_no_utf8_is_refused_for_a_run_and_read_as_data(data, tmp_path, capsys):
    odd = tmp_path / os.fsdecode(b'm\xfcll')
    data.rename(odd)
    assert cli.main(words(odd, odd / 'run', '--fast-dev-run')) == 1
    assert 'is no UTF-8, which checkpoints and TensorBoard need' in capsys.readouterr().err
    assert not (odd / 'run').exists()
    assert cli.main(words(odd, tmp_path / 'run', '--fast-dev-run')) == 0


def test_a_run_whose_files_are_damaged_says_what_to_do(data, tmp_path, capsys):
    out = tmp_path / 'run'
    assert cli.main(words(data, out, '--fast-dev-run')) == 0
    (out / run_folder.FILE).unlink()
    assert cli.main(['train', '--resume', str(out)]) == 1
    assert 'no run.json, which names the options of its run: give' in capsys.readouterr().err
    (out / checkpoint.FILE).write_bytes(b'half a file')
    assert cli.main(words(data, out, '--fast-dev-run', '--resume')) == 1
    assert 'not a complete checkpoint' in (said := capsys.readouterr().err)
    assert 'or start a new run' in said


def test_a_run_goes_on_only_with_the_same_settings(data, tmp_path, capsys):
    assert cli.main(words(data, tmp_path / 'run', '--fast-dev-run')) == 0
    assert cli.main(words(data, tmp_path / 'run', '--resume', '--batch', '2')) == 1
    assert 'its recipe has changed (batch 4; now batch 2)' in capsys.readouterr().err


def test_a_run_goes_on_only_with_the_same_data(data, tmp_path, capsys):
    assert cli.main(words(data, tmp_path / 'run', '--fast-dev-run')) == 0
    other = layouts.sync(tmp_path / 'other', ('kitchen', 'office'), 6)
    assert cli.main(words(other, tmp_path / 'run', '--fast-dev-run', '--resume')) == 1
    assert 'its data has changed' in capsys.readouterr().err


def test_a_damaged_checkpoint_is_named(data, tmp_path, capsys):
    layouts.write(tmp_path / 'run' / checkpoint.FILE, b'half')
    assert cli.main(words(data, tmp_path / 'run', '--resume')) == 1
    assert 'is not a complete checkpoint' in capsys.readouterr().err


def test_shares_of_two_processes_are_the_batches_of_one():
    one, *two = (BatchOrder(11, 4, 3, rank, count) for rank, count in ((0, 1), (0, 2), (1, 2)))
    assert list(one) == [a + b for a, b in zip(*two)]
    whole = list(one)
    one.start(0, 1)
    assert list(one) == whole[1:]
    one.start(1, 0)
    assert list(one) != whole


def test_bad_pairs_are_passed_over_counted_and_said(data, tmp_path, capsys):
    (data / 'kitchen/rgb_00003.jpg').write_bytes(b'half')
    assert cli.main(words(data, tmp_path / 'run', '--epochs', '1')) == 0
    rows = [row for row in journal.read(tmp_path / 'run') if row['kind'] == 'validation']
    assert rows[0]['bad_pairs'] == 1
    assert 'epoch 1: ' in (said := capsys.readouterr().err) and '1 bad pairs' in said


def test_the_validation_loss_is_logged_and_steers_the_schedule(data, tmp_path):
    out = tmp_path / 'run'
    assert cli.main(words(data, out, '--epochs', '3')) == 0
    rows = [row for row in journal.read(out) if row['kind'] == 'validation']
    progress = checkpoint._read(out / checkpoint.FILE)[1]['progress']
    assert progress['scores'] == [row['loss'] for row in rows] and len(rows) == 3
    assert progress['errors'] == [row['RMSE'] for row in rows]
    assert all(row['loss'] > 0 for row in rows)


def test_the_best_weights_lie_beside_the_last(data, tmp_path, monkeypatch):
    """The second of three epochs is the best; the third belongs to a resumed run."""
    errors, judge = [0.9, 0.5], Validation.judge

    def judged(self, *arguments):
        result, loss = judge(self, *arguments)
        if not errors:
            raise KeyboardInterrupt
        result.scores['RMSE'] = errors.pop(0)
        return result, loss

    monkeypatch.setattr(Validation, 'judge', judged)
    out = tmp_path / 'run'
    assert cli.main(words(data, out)) == 130
    best, last = (out / 'best.safetensors', out / 'weights.safetensors')
    second = best.read_bytes()
    # Not compared as bytes, since entries of the header have no fixed order.
    assert load_weights(best).checksum == load_weights(last).checksum
    errors.append(0.7)
    assert cli.main(words(data, out, '--resume')) == 0
    assert best.read_bytes() == second != last.read_bytes()
    assert load_weights(best).info.scores[0]['RMSE'] == 0.5
    assert load_weights(last).info.scores[0]['RMSE'] == 0.7


def test_an_oracle_has_no_validation_loss(data, tmp_path):
    """Return the loss of the prediction against the truth as in training."""
    recipe = dataclasses.replace(
        TINY,
        loss='l1',
        loss_arguments={},
        augment='paper_003',
        test_geometry='harsanyi',
        height=40,
        width=50,
        test_height=40,
        test_width=50,
    )
    pairs = open_dataset(data, 'test')
    info = build.weights_info(recipe, pairs, None, 'none')

    class Truth(Predictor):
        def output(self, image):
            return next(truths)

    views = [(look(info, pairs[i].rgb), pairs[i].depth) for i in range(len(pairs))]
    truths = iter(
        [
            torch.from_numpy(np.ascontiguousarray(view.box.of(depth)))[None, None] * 1.5
            for view, depth in views
        ]
    )
    validation = Validation(pairs, recipe, build.loss(recipe), tmp_path, None, None)
    known = [view.box.of(depth)[view.box.of(depth) > 0].mean() for view, depth in views]
    loss = validation.loss(Truth(torch.nn.Identity(), info, torch.device('cpu')))
    assert loss == pytest.approx(0.5 * np.mean(known), rel=1e-5)


def test_a_network_that_cannot_learn_is_named_at_its_first_step(
    data, tmp_path, capsys, monkeypatch
):
    from depth_training.train import step as learner

    monkeypatch.setattr(learner.Learner, 'gradients', dead)
    assert cli.main(words(data, tmp_path / 'run')) == 1
    said = capsys.readouterr().err
    assert 'the first step has no gradient' in said and 'head_bias=2.7' in said


def dead(self, image, depth):
    """Imitate a final ReLU whose input is negative everywhere."""
    loss = (depth - torch.relu(-1 - self.model(image).square())).square().mean()
    loss.backward()
    return loss
