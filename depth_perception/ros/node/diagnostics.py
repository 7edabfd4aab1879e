# SPDX-License-Identifier: Apache-2.0
"""Convert the node's health to /diagnostics: one status each for input, inference and depth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from depth_perception.ros.node.calibrations import NO_CAMERA_INFO
from depth_perception.ros.node.health import OTHER_CLOCK, STAGES, Snapshot
from depth_perception.ros.transport import PROFILE, profile_variables

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
#: Seconds without an image before the input is reported as silent.
SILENCE = 2.0
#: Warn if the share of replaced images is above the first or the coverage below the second.
REPLACED_SHARE = 0.2
COVERAGE = 0.8
#: Contrast in grey levels; a covered lens gives an almost constant image.
COVERED_CONTRAST = 3.0
#: The setting to add to a camera's process on Fast DDS if large images are lost in transport.
REMEDY = f'{profile_variables()[-1]}={PROFILE}'
#: Seconds spent on one frame before the network is reported as hanging.
HANG = 5.0

Finding = tuple[bytes, str]


@dataclass(frozen=True)
class Context:
    """Data for diagnostics in addition to the health record.

    Attributes:
        active: whether the node is active; `state` is the name of its state.
        problem: why configuring failed, or ''.
        since: monotonic seconds at activation, or when images were last subscribed to.
        resting: why the node does not read images now; '' while it reads them.
        middleware: the rmw implementation; `small_buffers` names what it lacks, or is ''.
        image_topic, info_topic: resolved names.
        publishers: number of publishers of the image topic.
        elsewhere: other topics with images if the image topic has no publisher, or ''.
        reliability: reliability and history of the image subscription.
        counts_losses: whether the middleware reports lost images.
        fell_back: whether the input's reliability was lowered to match the camera.
        misfit, info_misfit: a text if the publishers of the image or its camera_info send another
            message type, or ''.
        latched: whether the last image is latched: it came, and new subscribers get its depth.
        pinned: QoS overrides that keep inputs from adapting, or ''.
        camera_problem: why the camera is unknown, or ''.
        input_remarks: apparent problems of the images or their calibration.
        scan_problem: why there is no scan, or what is wrong with its frame; or ''.
        anchor_problem: what is wrong with the sensors that correct depth; or ''.
        paused: whether paused by ~/enable.
        rate_limited: whether max_rate is set.
        busy_for: seconds since processing of the current frame began.
        sharing: which cameras share the network and whose frame is being processed, or ''.
        rivals: output topics that also have another publisher.
        model: name, checksum, device, precision, memory.
        warnings: persistent remarks, such as "no GPU".
    """

    active: bool
    state: str
    problem: str = ''
    since: float = 0.0
    resting: str = ''
    middleware: str = ''
    small_buffers: str = ''
    image_topic: str = ''
    info_topic: str = ''
    publishers: int = 0
    elsewhere: str = ''
    reliability: str = ''
    fell_back: bool = False
    counts_losses: bool = True
    misfit: str = ''
    info_misfit: str = ''
    latched: bool = False
    pinned: str = ''
    camera_problem: str = ''
    input_remarks: tuple[str, ...] = ()
    scan_problem: str = ''
    anchor_problem: str = ''
    paused: bool = False
    rate_limited: bool = False
    busy_for: float = 0.0
    sharing: str = ''
    rivals: tuple[str, ...] = ()
    model: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    focal: tuple[tuple[str, str], ...] = ()


def diagnostic_array(
    node_name: str, hardware_id: str, health: Snapshot, context: Context
) -> DiagnosticArray:
    """Return the three statuses without a stamp, which the caller sets."""
    tasks = {'input': _input, 'inference': _inference, 'depth': _depth}
    array = DiagnosticArray()
    for task, make in tasks.items():
        findings, values = make(health, context)
        level, message = _worst(findings)
        array.status.append(
            DiagnosticStatus(
                level=level,
                name=f'{node_name}: {task}',
                message=message,
                hardware_id=hardware_id,
                values=[KeyValue(key=key, value=value) for key, value in values],
            )
        )
    return array


def _worst(findings: Iterable[Finding]) -> Finding:
    """Return the highest level, and all remarks with the most severe first."""
    findings = sorted(findings, key=lambda finding: finding[0], reverse=True)
    remarks = [text for _, text in findings if text != 'OK']
    return findings[0][0], '; '.join(remarks) or 'OK'


def _inactive(context: Context) -> list[Finding]:
    if context.problem:
        return [(ERROR, context.problem)]
    return [] if context.active else [(OK, context.state)]


def _input(health: Snapshot, context: Context) -> tuple[list[Finding], list[tuple[str, str]]]:
    values = [
        ('topic', context.image_topic),
        ('publishers', str(context.publishers)),
        ('reliability', context.reliability),
        ('middleware', context.middleware),
        *_given(qos_override=context.pinned),
        ('rate_hz', f'{health.rate:.2f}'),
        *health.image.items(),
        ('camera_info_topic', context.info_topic),
        ('stamp_to_clock_s', _number(health.clock_offset)),
        ('frames_arriving', _number(_share_arriving(health, context))),
        ('regularity', _number(health.stamp_coverage)),
    ]
    findings = _inactive(context) or [(OK, 'OK'), *_input_findings(health, context)]
    return findings, values


def _input_findings(health: Snapshot, context: Context) -> list[Finding]:
    findings: list[Finding] = []
    if context.resting:
        findings.append((OK, f'{context.resting}: no image is read'))
    silent = silence(health, context, SILENCE)
    if silent:
        findings.append((WARN, silent))
    elif context.camera_problem == NO_CAMERA_INFO:
        why = f': {context.info_misfit}' if context.info_misfit else ''
        findings.append((WARN, f'no camera_info on {context.info_topic}{why}'))
    elif context.camera_problem:
        findings.append((WARN, context.camera_problem))
    findings += [(WARN, text) for text in context.input_remarks]
    if context.small_buffers:
        findings.append((WARN, f'{context.middleware}: {context.small_buffers}'))
    if context.scan_problem:
        findings.append((WARN, context.scan_problem))
    if context.fell_back:
        findings.append((WARN, 'QoS fell back to best effort'))
    findings += _loss_findings(health, context)
    if health.clock_offset is not None and abs(health.clock_offset) > OTHER_CLOCK:
        cause = 'use_sim_time?' if health.stamp else 'the camera stamps its images with 0'
        findings.append((WARN, f'stamps and clock differ by {health.clock_offset:.0f} s: {cause}'))
    frame_id = health.image.get('frame_id')
    if frame_id is not None and 'optical' not in frame_id:
        findings.append((WARN, f'frame_id {frame_id!r} does not name an optical frame'))
    findings += [(ERROR, e.text) for kind, e in health.errors.items() if kind == 'input']
    findings += [(OK, e.text) for kind, e in health.errors.items() if kind == 'time']
    return findings


def silence(health: Snapshot, context: Context, limit: float) -> str:
    """Return why an active node has received no image for over `limit` seconds, or ''.

    While it does not read images, return only what the publishers of the topic tell.
    """
    since = health.now - max(health.last_image_at or 0.0, context.since)
    if not context.active or since <= limit:
        return ''
    if context.resting and context.publishers and not context.misfit:
        return ''
    pinned = f' (here it is {context.pinned})' if context.pinned else ''
    lost = 'they get lost on the way' if health.lost else ''
    latched = 'its publisher has latched the last one' if context.latched else ''
    elsewhere = f'; {context.elsewhere}' if context.elsewhere else ''
    why = (
        context.misfit
        or lost
        or (context.publishers and latched)
        or (
            f'its publisher is silent or of another QoS{pinned}'
            if context.publishers
            else f'nobody publishes it{elsewhere}'
        )
    )
    return f'no image on {context.image_topic} for {since:.1f} s: {why}'


def _share_arriving(health: Snapshot, context: Context) -> float | None:
    """Return the share of images received; None if the middleware does not count losses."""
    published = health.arrived + health.lost
    return health.arrived / published if published and context.counts_losses else None


def _loss_findings(health: Snapshot, context: Context) -> list[Finding]:
    """Report counted losses; without a count, report only that stamps are irregular."""
    share = _share_arriving(health, context)
    if share is not None and share < COVERAGE:
        return [
            (
                WARN,
                f'input loses frames ({100 * (1 - share):.0f} %): start the camera with '
                f'{REMEDY}, see docs/dds.md',
            )
        ]
    if context.counts_losses:
        return []
    findings: list[Finding] = []
    if health.stamp_coverage is not None and health.stamp_coverage < COVERAGE:
        findings.append((OK, 'images come irregularly'))
    if context.fell_back:
        findings.append(
            (
                OK,
                'whether images get lost is unknown, for this middleware does not '
                'count them: see docs/dds.md',
            )
        )
    return findings


def _inference(health: Snapshot, context: Context) -> tuple[list[Finding], list[tuple[str, str]]]:
    values = [
        ('rate_hz', f'{health.processed_rate:.2f}'),
        *(
            (key, str(health.counts[key]))
            for key in (
                'received',
                'processed',
                'replaced',
                'stale',
                'bad',
                'failed',
                'idle',
                'paused',
            )
        ),
        *(
            (key, str(count))
            for key, count in sorted(health.counts.items())
            if key.startswith('published ')
        ),
    ]
    for stage in STAGES:
        if stage in health.latency:
            median, p95, largest = (1000 * value for value in health.latency[stage])
            values.append((f'{stage}_ms', f'p50 {median:.1f} p95 {p95:.1f} max {largest:.1f}'))
    values += context.model
    findings = _inactive(context) or _inference_findings(health, context)
    return findings, values


def _inference_findings(health: Snapshot, context: Context) -> list[Finding]:
    findings: list[Finding] = [(OK, 'OK')]
    if context.paused:
        findings = [(OK, 'paused by ~/enable')]
    elif health.idle or context.resting:
        findings = [(OK, 'idle: no subscribers')]
    received, replaced = health.window_counts['received'], health.window_counts['replaced']
    if received and replaced / received > REPLACED_SHARE:
        text = f'{100 * replaced / received:.0f} % of frames replaced'
        findings.append(
            (OK, f'{text} (max_rate)') if context.rate_limited else (WARN, f'overloaded: {text}')
        )
    if health.window_counts['stale']:
        findings.append((WARN, f'{health.window_counts["stale"]} frames older than max_age'))
    if context.busy_for > HANG:
        sharing = f' ({context.sharing})' if context.sharing else ''
        findings.append(
            (
                ERROR,
                f'one frame takes {context.busy_for:.0f} s already: the network'
                f'{sharing} hangs, or is far too slow here; if it never ends, '
                'restart this process',
            )
        )
    if context.rivals:
        more = f' and {len(context.rivals) - 1} more outputs' if len(context.rivals) > 1 else ''
        findings.append(
            (
                WARN,
                f'another node publishes {context.rivals[0]}{more} too: give each '
                'depth_node a namespace of its own',
            )
        )
    findings += [(WARN, text) for text in context.warnings]
    findings += [
        (ERROR, e.text) for kind, e in health.errors.items() if kind not in ('input', 'time')
    ]
    return findings


def _depth(health: Snapshot, context: Context) -> tuple[list[Finding], list[tuple[str, str]]]:
    values = [*((key, _number(value)) for key, value in health.depth.items()), *context.focal]
    findings = _inactive(context) or [(OK, 'OK')]
    if context.active and health.depth.get('valid_percent', 100.0) == 0.0:
        findings.append((WARN, '0 % valid pixels'))
    if context.active and context.anchor_problem:
        findings.append((WARN, context.anchor_problem))
    if context.active and health.depth.get('contrast', 255.0) < COVERED_CONTRAST:
        findings.append((WARN, 'camera covered? the image is almost constant'))
    return findings, values


def _given(**values: str) -> list[tuple[str, str]]:
    """Return the values that are not empty."""
    return [(key, value) for key, value in values.items() if value]


def _number(value: float | None) -> str:
    return 'unknown' if value is None else f'{value:.3f}'
