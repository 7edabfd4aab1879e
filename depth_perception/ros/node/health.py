# SPDX-License-Identifier: Apache-2.0
"""Counters, rates and latencies of the node; written by its threads, read once a second.

Everything is measured with the steady clock, so simulated time and clock changes have no effect.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

#: Window for rates and shares, seconds.
WINDOW = 5.0
#: Window for lost images, seconds; longer because few images may arrive.
LOSS_WINDOW = 30.0
#: Smallest number of images needed to judge how regular their stamps are.
ENOUGH = 9
#: Seconds that an error stays visible in diagnostics.
ERROR_VISIBLE = 5.0
#: A stamp that differs from the clock by this many seconds comes from another clock.
OTHER_CLOCK = 60.0
STAGES = (
    'decode',
    'inference',
    'network',
    'postprocess',
    'anchors',
    'publish',
    'beside_network',
    'arrival_to_publish',
    'capture_to_publish',
)


@dataclass(frozen=True)
class Event:
    """An error or warning, and its time in monotonic seconds."""

    text: str
    at: float


@dataclass
class Snapshot:
    """The data for diagnostics; see `Health` for the meaning of the counters.

    Attributes:
        stamp: stamp of the last image, seconds.
        arrived, lost: images within LOSS_WINDOW; `lost` is counted by the middleware.
        stamp_coverage: regularity of the image stamps, at most 1; None for too few images.
    """

    now: float
    counts: Counter[str]
    window_counts: Counter[str]
    rate: float
    processed_rate: float
    latency: dict[str, tuple[float, float, float]]
    last_image_at: float | None
    last_info_at: float | None
    image: dict[str, str] = field(default_factory=dict)
    clock_offset: float | None = None
    stamp: float | None = None
    arrived: int = 0
    lost: int = 0
    stamp_coverage: float | None = None
    errors: dict[str, Event] = field(default_factory=dict)
    depth: dict[str, float] = field(default_factory=dict)
    idle: bool = False


class Health:
    """Thread-safe record of events, rates and latencies.

    Counters of images: `received`; `paused`, ignored while paused; `replaced` by a newer one before
    processing; `stale`, dropped by max_age; `bad`, unusable messages; `failed` in inference;
    `idle`, skipped without subscribers; `processed`; and `published <topic>` for each output.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Reset everything."""
        with self._lock:
            self._errors: dict[str, Event] = {}
        self.start_anew()

    def start_anew(self) -> None:
        """Reset everything except errors, for example after a jump back in time."""
        with self._lock:
            self._counts: Counter[str] = Counter()
            self._recent: deque[tuple[float, str]] = deque(maxlen=4096)
            self._stamps: deque[tuple[float, float]] = deque(maxlen=4096)
            self._lost: deque[tuple[float, int]] = deque(maxlen=4096)
            self._latency: dict[str, deque[float]] = {stage: deque(maxlen=256) for stage in STAGES}
            self._last: dict[str, float] = {}
            self._image: dict[str, str] = {}
            self._clock_offset: float | None = None
            self._sample: NDArray[np.float32] | None = None
            self._depth_facts: dict[str, float] = {}

    def count(self, what: str, times: int = 1) -> None:
        """Count an event."""
        with self._lock:
            self._counts[what] += times
            self._recent.extend([(self._clock(), what)] * times)

    def image_received(
        self, stamp: float, clock_offset: float | None, facts: dict[str, str]
    ) -> None:
        """Record an image, with its stamp and its delay behind the node's clock (seconds).

        The delay of an image that may be old, such as a latched one, says nothing: None.
        """
        self.count('received')
        with self._lock:
            now = self._clock()
            self._last['image'] = now
            self._stamps.append((now, stamp))
            self._clock_offset = clock_offset
            self._image = facts

    def image_within(self, seconds: float) -> bool:
        """Return whether an image arrived in the last seconds."""
        with self._lock:
            return self._clock() - self._last.get('image', float('-inf')) <= seconds

    def lost(self, count: int) -> None:
        """Record the number of images that the middleware reports as lost."""
        with self._lock:
            self._lost.append((self._clock(), count))

    def info_received(self) -> None:
        """Record a camera_info."""
        with self._lock:
            self._last['info'] = self._clock()

    def error(self, kind: str, text: str) -> None:
        """Record an error, shown for ERROR_VISIBLE; a newer one of its kind replaces it."""
        with self._lock:
            self._errors[kind] = Event(text, self._clock())

    def clear(self, kind: str) -> None:
        """Clear the error of this kind."""
        with self._lock:
            self._errors.pop(kind, None)

    def latencies(self, seconds: dict[str, float]) -> None:
        """Record the seconds that each stage of one frame took."""
        with self._lock:
            for stage, value in seconds.items():
                self._latency[stage].append(value)

    def depth_seen(self, sample: NDArray[np.float32], facts: dict[str, float]) -> None:
        """Record a subsampled depth image (not copied) and its figures."""
        with self._lock:
            self._sample, self._depth_facts = sample, facts

    def snapshot(self) -> Snapshot:
        """Return a consistent snapshot."""
        with self._lock:
            now = self._clock()
            window = Counter(what for at, what in self._recent if now - at <= WINDOW)
            return Snapshot(
                now=now,
                counts=Counter(self._counts),
                window_counts=window,
                rate=_rate([at for at, what in self._recent if what == 'received'], now),
                processed_rate=_rate([at for at, what in self._recent if what == 'processed'], now),
                latency={
                    stage: _percentiles(values) for stage, values in self._latency.items() if values
                },
                last_image_at=self._last.get('image'),
                last_info_at=self._last.get('info'),
                image=dict(self._image),
                clock_offset=self._clock_offset,
                stamp=self._stamps[-1][1] if self._stamps else None,
                arrived=sum(now - at <= LOSS_WINDOW for at, _ in self._stamps),
                lost=sum(count for at, count in self._lost if now - at <= LOSS_WINDOW),
                stamp_coverage=_stamp_coverage(
                    [stamp for at, stamp in self._stamps if now - at <= WINDOW]
                ),
                errors={
                    kind: event
                    for kind, event in self._errors.items()
                    if now - event.at <= ERROR_VISIBLE
                },
                depth={**self._depth_facts, **_depth_statistics(self._sample)},
                idle=window['idle'] > 0 and window['processed'] == 0,
            )


def _rate(times: list[float], now: float) -> float:
    """Return events per second in the window; 0 for fewer than two events."""
    times = [at for at in times if now - at <= WINDOW]
    if len(times) < 2 or times[-1] == times[0]:
        return 0.0
    return (len(times) - 1) / (times[-1] - times[0])


def _percentiles(values: deque[float]) -> tuple[float, float, float]:
    """Return median, 95th percentile and maximum."""
    median, p95, largest = np.percentile(np.array(values), (50, 95, 100))
    return float(median), float(p95), float(largest)


def _stamp_coverage(stamps: list[float]) -> float | None:
    """Return the number of gaps times the usual period, as a fraction of the time span.

    The usual period is the lower quartile of the gaps. The result does not indicate why stamps are
    irregular: images may be lost, or the camera may be triggered or expose longer in the dark.
    """
    gaps = np.diff(stamps)
    gaps = gaps[gaps < OTHER_CLOCK]  # ignore changes of the clock
    if len(gaps) < ENOUGH - 1 or gaps.min() <= 0:
        return None
    return float(min(1.0, len(gaps) * np.quantile(gaps, 0.25) / gaps.sum()))


def _depth_statistics(sample: NDArray[np.float32] | None) -> dict[str, float]:
    if sample is None:
        return {}
    finite = sample[np.isfinite(sample)]
    statistics = {'valid_percent': 100.0 * finite.size / max(1, sample.size)}
    if finite.size:
        low, middle, high = np.percentile(finite, (5, 50, 95))
        statistics |= {'p5_m': float(low), 'p50_m': float(middle), 'p95_m': float(high)}
    return statistics
