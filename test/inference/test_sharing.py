# SPDX-License-Identifier: Apache-2.0
"""One network for several users: loaded once, used in turn, freed with the last."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from depth_perception.inference import sharing
from depth_perception.inference.device import DeviceError
from depth_perception.inference.protocol import Sharing
from depth_perception.inference.sharing import SharedNetworks, Turns
from depth_perception.io.weights import WeightsError, save_weights
from test.support.estimators import StandIn
from test.support.waiting import wait_until
from test.support.weights import tiny_info, tiny_network

IMAGE = np.zeros((60, 80, 3), np.uint8)


@pytest.fixture
def weights(tmp_path):
    """Writes a real network with random weights, small and quick; the file's name."""

    def write(name: str = 'net', seed: int = 0):
        save_weights(tmp_path / name, tiny_network(seed), tiny_info())
        return str(tmp_path / name)

    return write


def test_requests_are_served_in_order():
    turns, order, gate = Turns(), [], threading.Event()
    users = 'abcde'
    with ThreadPoolExecutor(len(users) + 1) as pool:
        pool.submit(turns.call, 'first', gate.wait, 30)
        wait_until(lambda: turns.now[0] == 'first')
        for number, user in enumerate(users, start=1):
            pool.submit(turns.call, user, order.append, user)
            wait_until(lambda number=number: turns._requests.qsize() == number)
        assert not order
        gate.set()
    assert order == list(users) and turns.now == ('', 0.0)


@pytest.fixture
def no_collector():
    """What only a search for cycles would free stays: on a GPU, memory that is missing."""
    gc.disable()
    yield
    gc.enable()


def test_an_error_reaches_its_user_and_leaves_nothing_behind(no_collector):
    class Heavy:
        def fail(self):
            raise ValueError('mine')

    turns, heavy = Turns(), Heavy()
    gone = weakref.ref(heavy)
    with pytest.raises(ValueError, match='mine') as caught:
        turns.call('a', heavy.fail)
    del heavy, caught
    assert wait_until(lambda: gone() is None, 5)
    assert turns.call('b', int, '7') == 7


def test_one_network_for_the_same_file_and_one_each_for_others(weights):
    networks = SharedNetworks()
    file, other = weights(), weights('other', seed=1)
    front, rear, left = (networks.loader(name) for name in ('front', 'rear', 'left'))
    shares = (
        front(file, 'cpu', 'fp32'),
        rear(file, 'auto' if not torch.cuda.is_available() else 'cpu', 'fp32'),
        left(other, 'cpu', 'fp32'),
    )
    estimators = [share._network.estimator for share in shares]
    assert estimators[0] is estimators[1] and estimators[0] is not estimators[2]
    assert shares[0].sharing == shares[1].sharing == Sharing(('front', 'rear'))
    assert shares[2].sharing.users == ('left',)
    direct = estimators[0].infer(IMAGE)
    assert np.array_equal(shares[0].estimate(IMAGE).depth, direct)
    assert np.array_equal(shares[1].estimate(IMAGE).depth, direct)
    assert shares[0].checksum == shares[1].checksum != shares[2].checksum


def test_users_who_come_together_load_once(weights):
    file, loaded = weights(), []

    def load(*arguments):
        loaded.append(arguments)
        return sharing.DepthEstimator.load(*arguments)

    networks = SharedNetworks(load)
    with ThreadPoolExecutor(4) as pool:
        shares = list(pool.map(lambda name: networks.loader(name)(file, 'cpu', 'fp32'), 'abcd'))
    assert len(loaded) == 1 and shares[3].sharing.users == ('a', 'b', 'c', 'd')


def test_the_network_and_its_thread_end_with_the_last_user(weights, no_collector):
    networks, file = SharedNetworks(), weights()
    shares = [networks.loader(name)(file, 'cpu', 'fp32') for name in ('front', 'rear')]
    for share in shares:
        share.estimate(IMAGE)
    gone = weakref.ref(shares[0]._network.estimator)

    def threads():
        return [t for t in threading.enumerate() if t.name == 'shared_network']

    before = len(threads())
    del share, shares[0]
    assert gone() is not None and shares[0].sharing.users == ('rear',)
    shares.clear()
    assert wait_until(lambda: gone() is None, 5)
    wait_until(lambda: len(threads()) == before - 1)
    assert not networks._networks


def test_a_file_that_was_replaced_is_another_network(weights):
    networks, file = SharedNetworks(), weights()
    front = networks.loader('front')(file, 'cpu', 'fp32')
    weights(seed=1)
    rear = networks.loader('rear')(file, 'cpu', 'fp32')
    assert front.checksum != rear.checksum and front.sharing.users == ('front',)


def test_loading_errors_are_the_same_as_without_sharing(tmp_path):
    load = SharedNetworks().loader('front')
    with pytest.raises(WeightsError, match='no such file'):
        load(str(tmp_path / 'none'), 'cpu', 'fp32')
    with pytest.raises(DeviceError, match='cuda:99'):
        load('', 'cuda:99', 'fp32')


def test_a_hanging_network_gets_no_new_users(monkeypatch):
    monkeypatch.setattr(sharing, 'HUNG', 0.2)
    made = []
    networks = SharedNetworks(lambda *_: made.append(StandIn()) or made[-1])
    front = networks.loader('front')('', 'cpu', 'fp32')
    made[0].release.clear()
    caller = threading.Thread(target=front.estimate, args=(IMAGE,), daemon=True)
    caller.start()
    try:
        wait_until(lambda: front._network.turns.now[1] > 0.2)
        rear = networks.loader('rear')('', 'cpu', 'fp32')
        assert rear.estimate(IMAGE).depth.shape == (60, 80) and len(made) == 2
        assert (front.sharing.turn, rear.sharing.turn) == ('front', '')
    finally:
        made[0].release.set()
        caller.join(30)
