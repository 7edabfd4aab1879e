# SPDX-License-Identifier: Apache-2.0
"""Training from packed views: complete on a CPU, as a CUDA graph on a GPU."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from depth_perception.io.weights import load_weights, weights_path
from depth_training.augment import mix_style
from depth_training.data.layouts.packed import write_pack
from depth_training.data.transforms import fill
from depth_training.recipes import get_recipe
from depth_training.recipes.schedule import Place
from depth_training.train import build
from depth_training.train import packed as train_packed
from depth_training.train.distributed import Processes
from depth_training.train.step import Learner
from depth_training.train.training_data import Batch
from test.support.cuda import cuda_only
from test.training.test_packed import view


@pytest.fixture(scope='module')
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('packed') / 'rooms.zip'
    write_pack(path, [(view(n), 'train') for n in range(6)] + [(view(7), 'test')])
    return path


@pytest.fixture
def small(monkeypatch) -> None:
    """Return the recipe at a size that a CPU trains in a moment."""
    recipe = dataclasses.replace(
        get_recipe('bundled_packed'), height=48, width=64, test_height=48, test_width=64, focal=52.0
    )
    monkeypatch.setattr(train_packed, 'get_recipe', lambda name: recipe)


def command(pack: Path, out: Path, *more: str) -> list[str]:
    return [
        str(pack),
        '--out',
        str(out),
        '--batch',
        '2',
        '--log-every',
        '1',
        '--device',
        'cpu',
        '--start-from',
        str(weights_path('default')),
        *more,
    ]


def stop_after_one(arguments: list[str]) -> None:
    """Start a run that a signal stops after its first step."""
    trainer = train_packed.PackedTrainer(train_packed.parse(arguments))
    step = trainer._step

    def stopped_after_one():
        trainer._signal = 15
        return step()

    trainer._step = stopped_after_one
    assert trainer.run() == 128 + 15


def equal(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    tensors = (network.state_dict().values() for network in (first, second))
    return all(torch.equal(a, b) for a, b in zip(*tensors))


def test_a_run_resumes_exactly_and_its_weights_load(pack, tmp_path, small, capsys):
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    assert train_packed.main(command(pack, whole, '--steps', '2')) == 0
    stop_after_one(command(pack, parts, '--steps', '2'))
    resumed = command(pack, parts, '--steps', '2', '--resume')
    assert train_packed.main(resumed) == 0
    assert train_packed.main(command(pack, parts, '--steps', '2')) == 1
    assert train_packed.main(resumed) == 0
    first, second = (load_weights(out / 'weights.safetensors') for out in (whole, parts))
    assert equal(first.network, second.network)
    assert first.info.name == 'bundled_packed' and '4 pictures' in first.info.training_data
    assert first.info.training_data.endswith(
        '4 pictures, starting from the weights default.safetensors'
    ), 'no path of this machine'
    curve = json.loads((parts / 'training.json').read_text())['curve']
    assert [row['step'] for row in curve] == [0, 1, 1, 2]
    assert all(0 < row['AbsRel'] < 5 for row in curve)
    assert curve[-1]['augment_ms'] > 0 and curve[-1]['learn_ms'] > 0
    # The bundled network has a head that tells how far to trust it, which training makes untrue.
    said = capsys.readouterr().err
    assert 'already contains a run: add --resume' in said and 'nothing is left to train' in said
    assert 'default.safetensors is left out, since training changes the errors' in said
    assert load_weights('default').info.gives_confidence and not first.info.gives_confidence


def test_a_run_goes_on_with_more_rooms_only_if_told_to(pack, tmp_path, small, capsys):
    run, more = tmp_path / 'run', tmp_path / 'more.zip'
    assert train_packed.main(command(pack, run, '--steps', '1')) == 0
    write_pack(more, [(view(n), 'train') for n in range(8)] + [(view(9), 'test')])
    resumed = command(more, run, '--steps', '2', '--resume')
    assert train_packed.main(resumed) == 1
    assert '--other-views allows' in capsys.readouterr().err
    assert train_packed.main([*resumed, '--other-views']) == 0
    assert 'the views before were packed layout, 6 pairs' in capsys.readouterr().err
    info = load_weights(run / 'weights.safetensors').info
    assert 'packed layout, 8 pairs' in info.training_data and '4 pictures' in info.training_data


def test_a_second_file_gives_its_share_of_every_batch(pack, tmp_path, small, capsys):
    real = tmp_path / 'real.zip'
    write_pack(real, [(view(n, id=f'desk/{n}', fx=40.0), 'train') for n in range(3)])
    mixed = (*command(pack, tmp_path / 'run', '--steps', '4'), '--batch', '4', '--mix-with')
    trainer = train_packed.PackedTrainer(train_packed.parse([*mixed, str(real)]))
    seen = set()
    for step in range(6):
        views = train_packed._joined([source.batch(step) for source in trainer.sources])
        assert views.fx.tolist() == [50, 50, 50, 40]  # 0.3 of 4 is 1
        seen.add(round(float(views.depth[3].max()), 2))
    assert len(seen) == 3  # every view in turn
    assert train_packed.main([*mixed, str(real)]) == 0
    info = load_weights(tmp_path / 'run' / 'weights.safetensors').info
    assert '1 of 4 of each batch: packed layout, 3 pairs' in info.training_data
    other = (*mixed, str(real), '--steps', '5', '--resume', '--mix-share', '0.5')
    assert train_packed.main(list(other)) == 1
    assert 'was started with' in capsys.readouterr().err
    mixed = (*command(pack, tmp_path / 'other', '--steps', '4'), '--batch', '4', '--mix-with')
    assert train_packed.main([*mixed, str(real), '--mix-share', '0.05']) == 1
    assert 'choose 0.25 to 0.75' in capsys.readouterr().err


def test_a_second_file_of_another_size_is_refused(pack, tmp_path, small, capsys):
    real = tmp_path / 'real.zip'
    write_pack(real, [(fill(view(0), 24, 32), 'train')])
    assert train_packed.main(command(pack, tmp_path / 'run', '--mix-with', str(real))) == 1
    assert 'are 32x24, those of' in (said := capsys.readouterr().err)
    assert 'pack_rooms --size 64x48' in said


def test_mix_style_is_in_the_network_that_learns_alone(pack, tmp_path, small):
    trainer = train_packed.PackedTrainer(
        train_packed.parse(command(pack, tmp_path, '--steps', '2', '--mix-style', '1'))
    )
    learner, image = trainer.learner, torch.randn(2, 3, 48, 64)
    mixing = [
        [name for name, part in network.named_modules() if part._forward_hooks]
        for network in (learner.network, learner.result)
    ]
    assert mixing == [[f'encoder.body.{stage}' for stage in mix_style.STAGES], []]
    learner.set_mode(Place(2, 2))  # with frozen batch normalisation
    assert not torch.equal(learner.network(image), learner.network(image))
    learner.network.eval()
    assert torch.equal(learner.network(image), learner.result(image))


def test_a_run_with_mix_style_resumes_exactly_and_only_with_its_share(
    pack, tmp_path, small, capsys
):
    plain, whole, parts = (tmp_path / name for name in ('plain', 'whole', 'parts'))
    mixed = ('--steps', '2', '--mix-style', '0.75')
    assert train_packed.main(command(pack, plain, '--steps', '2')) == 0
    assert train_packed.main(command(pack, whole, *mixed)) == 0
    stop_after_one(command(pack, parts, *mixed))
    for share in ((), ('--mix-style', '0.5')):
        other = command(pack, parts, '--steps', '2', '--resume', '--other-views', *share)
        assert train_packed.main(other) == 1
        said = capsys.readouterr().err.splitlines()[-1]
        assert 'started with --mix-style 0.75, not 0' in said and 'give the same value' in said
    assert train_packed.main(command(pack, parts, *mixed, '--resume')) == 0
    without, first, second = (
        load_weights(out / 'weights.safetensors') for out in (plain, whole, parts)
    )
    assert equal(first.network, second.network) and not equal(first.network, without.network)
    assert first.info.training_data == (
        without.info.training_data + '; MixStyle in 0.75 of the batches'
    )
    assert json.loads((whole / 'training.json').read_text())['options']['mix_style'] == '0.75'


def test_mix_style_is_trained_without_graphs_which_would_repeat_its_random_numbers(pack, tmp_path):
    for more, kind in (
        ((), train_packed.GraphedLearner),
        (('--no-graphs',), Learner),
        (('--mix-style', '0.5'), Learner),
    ):
        options = train_packed.parse(command(pack, tmp_path, *more))
        assert train_packed.learner_kind(options, torch.device('cuda')) is kind


@pytest.mark.parametrize('share', ['-0.1', '1.5', 'nan'])
def test_a_share_of_mix_style_out_of_range_is_refused(pack, tmp_path, capsys, share):
    with pytest.raises(SystemExit):
        train_packed.parse(command(pack, tmp_path, f'--mix-style={share}'))
    assert f'--mix-style is {share}: give a share of 0 (off) to 1' in capsys.readouterr().err


def test_time_ends_a_run(pack, tmp_path, small):
    assert train_packed.main(command(pack, tmp_path / 'run', '--minutes', '0.0001')) == 0
    assert (tmp_path / 'run' / 'weights.safetensors').exists()


def test_weights_that_are_not_finite_replace_no_good_ones(pack, tmp_path, small, capsys):
    run = tmp_path / 'run'
    assert train_packed.main(command(pack, run, '--steps', '1')) == 0
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    trainer = train_packed.PackedTrainer(
        train_packed.parse(command(pack, run, '--steps', '2', '--resume', '--log-every', '9'))
    )
    trainer._step = lambda: torch.tensor(float('nan'))
    trainer.place = lambda: Place(2 if trainer._loss is not None else 1, 2)
    with pytest.raises(ValueError, match='the loss is nan at step 1: lower the learning rate'):
        trainer.run()
    after = {file.name: file.read_bytes() for file in run.iterdir()}
    assert before['weights.safetensors'] == after['weights.safetensors']
    assert before['checkpoint.safetensors'] == after['checkpoint.safetensors']


def test_a_graph_is_recorded_anew_once_batch_normalisation_is_frozen(monkeypatch):
    """A stand-in for the graph: what is recorded keeps the mode of its time."""
    recipe = dataclasses.replace(get_recipe('bundled_packed'), freeze_batch_norm=0.5)
    network = build.network(recipe, 0)
    learner = train_packed.GraphedLearner(
        recipe, network, build.loss(recipe), torch.device('cpu'), Processes()
    )
    recorded = []

    class Graph:
        def replay(self) -> None:
            pass

    def record(image, depth):
        recorded.append((tuple(image.shape[-2:]), learner.frozen))
        gradients = [torch.ones_like(parameter) for parameter in network.parameters()]
        return Graph(), image.clone(), depth.clone(), torch.ones(()), gradients

    monkeypatch.setattr(learner, '_record', record)
    batch = Batch(torch.zeros(2, 3, 48, 64), torch.ones(2, 1, 48, 64))
    for step in range(4):
        learner.learn(batch, Place(step, 4))
    assert recorded == [((48, 64), False), ((48, 64), True)]


def test_the_learning_rate_does_not_rise_while_graphs_are_recorded(
    pack, tmp_path, small, monkeypatch
):
    """A stand-in for CUDA, that takes 40 s for each of three graphs, and 60 s for a step."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(
        train_packed, 'time', SimpleNamespace(monotonic=lambda: clock.now, perf_counter=time.time)
    )
    trainer = train_packed.PackedTrainer(
        train_packed.parse(command(pack, tmp_path / 'run', '--minutes', '4'))
    )
    trainer.learner.__class__ = train_packed.GraphedLearner
    recorded, places = [], []

    def record(image, depth):
        recorded.append(tuple(image.shape[-2:]))
        clock.now += 40

    def step():
        places.append(trainer.place())
        clock.now += 60
        return torch.ones(())

    monkeypatch.setattr(trainer.learner, '_record', record)
    monkeypatch.setattr(trainer, '_step', step)
    assert trainer.run() == 0
    assert recorded == [(48, 64), (32, 48), (32, 32)]
    whole = train_packed.WHOLE
    # The end stays where it was asked for.
    assert [place.step for place in places] == [0, whole // 2] and clock.now == 240


@pytest.mark.parametrize(
    'more, text',
    [
        (('--resume',), 'contains no run to resume'),
        (('--start-from', 'nowhere.safetensors'), 'there is no such file'),
        (('--recipe', 'paper_003'), 'has no focal length'),
        (('--batch', '64'), 'more than the 6 training pairs'),
        (('--device', 'cuda:99'), "device 'cuda:99' was asked for"),
        (('--device', 'gpu'), 'choose auto, cpu, cuda or cuda:N'),
    ],
)
def test_what_is_wrong_is_said(pack, tmp_path, capsys, more, text):
    assert train_packed.main(command(pack, tmp_path / 'run', *more)) == 1
    assert text in capsys.readouterr().err.splitlines()[-1]


def test_a_missing_file_is_said(tmp_path, capsys):
    assert train_packed.main(command(tmp_path / 'rooms.zip', tmp_path / 'run')) == 1
    assert capsys.readouterr().err.endswith(
        'rooms.zip does not exist: depth_training.data.pack_rooms writes such files\n'
    )


@pytest.mark.parametrize('option', ['--steps', '--minutes', '--batch', '--log-every'])
@pytest.mark.parametrize('value', ['0', '-1'])
def test_numbers_out_of_range_are_refused(pack, tmp_path, capsys, option, value):
    with pytest.raises(SystemExit) as error:
        train_packed.main(command(pack, tmp_path / 'run', option, value))
    assert error.value.code == 2
    assert 'above 0' in capsys.readouterr().err


def test_a_perfect_network_scores_perfectly(pack):
    """An oracle: validation must not change a correct prediction."""
    views = train_packed.DeviceViews(pack, 'test', torch.device('cpu'))
    recipe = dataclasses.replace(
        get_recipe('bundled_packed'), test_height=48, test_width=64, focal=52.0
    )
    truth = views.batch(torch.tensor([0])).depth

    class Oracle(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return truth * 52.0 / 50.0

    scores = train_packed.validate(Oracle(), views, recipe, torch.device('cpu'))
    assert scores['AbsRel'] < 1e-5 and scores['delta1'] == 1


@cuda_only
def test_a_graph_gives_the_gradients_of_plain_launches(monkeypatch):
    # With TF32, two algorithms of cuDNN differ by more than a graph may.
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    device, recipe = torch.device('cuda'), get_recipe('bundled_packed')
    losses, gradients = [], []
    for kind in (Learner, train_packed.GraphedLearner):
        network = build.network(recipe, 0)
        learner = kind(recipe, network, build.loss(recipe), device, Processes(), 'fp32')
        learner.network.eval()  # no dropout
        torch.manual_seed(0)
        image = torch.randn(4, 3, 96, 128, device=device)
        depth = torch.rand(4, 1, 96, 128, device=device) * 5 + 0.5
        for _ in range(2):
            learner.optimizer.zero_grad()
            loss = learner.gradients(image, depth)
        assert not learner.problem
        losses.append(loss.item())
        gradients.append(
            torch.cat(
                [p.grad.flatten() for p in learner.network.parameters() if p.grad is not None]
            )
        )
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    difference = (gradients[0] - gradients[1]).norm() / gradients[0].norm()
    assert difference < 1e-2


@cuda_only
def test_a_run_on_a_gpu(pack, tmp_path, small, monkeypatch, capsys):
    # For each size cuDNN takes ten seconds to choose its algorithms.
    monkeypatch.setattr(train_packed, 'SIZES', ((1.0, 1.0),))
    arguments = [
        part if part != 'cpu' else 'cuda'
        for part in command(pack, tmp_path / 'run', '--steps', '2')
    ]
    assert train_packed.main(arguments) == 0
    assert 'recorded CUDA graphs' in (said := capsys.readouterr().err) and 'slower' not in said
    assert load_weights(tmp_path / 'run' / 'weights.safetensors').info.name == 'bundled_packed'
    mixed = ['--mix-style', '0.5', '--out', str(tmp_path / 'mixed')]
    assert train_packed.main([*arguments, *mixed]) == 0
    assert 'random numbers of --mix-style' in (said := capsys.readouterr().err)
    assert 'recorded CUDA graphs' not in said
