# SPDX-License-Identifier: Apache-2.0
"""rviz/depth.rviz says only what RViz 2 understands: it ignores what it does not know in silence.

RViz is no dependency of the tests: the tables hold the classes and properties of its sources,
github.com/ros2/rviz, branch jazzy (commit of 2024-09-26), each with its file.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
from math import cos, sin
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import yaml

from depth_perception.ros.conversions.messages import level_frame

CONFIG = yaml.safe_load((Path(__file__).parents[1] / 'rviz' / 'depth.rviz').read_text())
MANAGER = CONFIG['Visualization Manager']
DISPLAYS = MANAGER['Displays']

BOOL, NUMBER, TEXT, COLOUR = 'bool', 'number', 'text', 'colour'
PLUGINS = 'rviz_default_plugins'

# rviz_common/src/rviz_common/display.cpp and properties/property.cpp
DISPLAY = {'Class': TEXT, 'Name': TEXT, 'Enabled': BOOL, 'Value': BOOL}
# rviz_common/src/rviz_common/properties/qos_profile_property.cpp
QOS = {
    'Depth': NUMBER,
    'History Policy': {'System Default', 'Keep Last', 'Keep All'},
    'Reliability Policy': {'System Default', 'Reliable', 'Best Effort'},
    'Durability Policy': {'System Default', 'Transient Local', 'Volatile'},
}
# rviz_common/include/rviz_common/ros_topic_display.hpp
TOPIC = {'Value': TEXT, **QOS}
# rviz_common/include/rviz_common/message_filter_display.hpp
FILTERED_TOPIC = {**TOPIC, 'Filter size': NUMBER}
# rviz_common/src/rviz_common/properties/vector_property.cpp
VECTOR = {'X': NUMBER, 'Y': NUMBER, 'Z': NUMBER}
# rviz_default_plugins/src/rviz_default_plugins/displays/pointcloud/point_cloud_common.cpp; names of
# transformers: point_cloud_transformer_factory.cpp beside it; their own properties: transformers/
POINT_CLOUD = {
    'Selectable': BOOL,
    'Size (m)': NUMBER,
    'Size (Pixels)': NUMBER,
    'Alpha': NUMBER,
    'Decay Time': NUMBER,
    'Style': {'Points', 'Squares', 'Flat Squares', 'Spheres', 'Boxes', 'Tiles'},
    'Position Transformer': {'XYZ'},
    'Color Transformer': {'Intensity', 'RGB8', 'RGBF32', 'AxisColor', 'FlatColor'},
    'Color': COLOUR,  # flat_color_pc_transformer.cpp
    'Use Fixed Frame': BOOL,  # axis_color_pc_transformer.cpp
}

# Classes: rviz_default_plugins/plugins_description.xml.
# Properties: rviz_default_plugins/src/rviz_default_plugins/displays/ and the file named.
DISPLAY_CLASSES = {
    # pointcloud/point_cloud2_display.cpp
    f'{PLUGINS}/PointCloud2': {**DISPLAY, 'Topic': FILTERED_TOPIC, **POINT_CLOUD},
    # laser_scan/laser_scan_display.cpp
    f'{PLUGINS}/LaserScan': {**DISPLAY, 'Topic': FILTERED_TOPIC, **POINT_CLOUD},
    # image/image_display.cpp
    f'{PLUGINS}/Image': {
        **DISPLAY,
        'Topic': TOPIC,
        'Normalize Range': BOOL,
        'Min Value': NUMBER,
        'Max Value': NUMBER,
        'Median window': NUMBER,
    },
    # axes/axes_display.cpp
    f'{PLUGINS}/Axes': {**DISPLAY, 'Reference Frame': TEXT, 'Length': NUMBER, 'Radius': NUMBER},
    # grid/grid_display.cpp
    f'{PLUGINS}/Grid': {
        **DISPLAY,
        'Reference Frame': TEXT,
        'Plane': {'XY', 'XZ', 'YZ'},
        'Plane Cell Count': NUMBER,
        'Normal Cell Count': NUMBER,
        'Cell Size': NUMBER,
        'Offset': VECTOR,
        'Color': COLOUR,
        'Alpha': NUMBER,
    },
    # tf/tf_display.cpp
    f'{PLUGINS}/TF': {
        **DISPLAY,
        'Show Names': BOOL,
        'Show Axes': BOOL,
        'Show Arrows': BOOL,
        'Marker Scale': NUMBER,
        'Update Interval': NUMBER,
        'Frame Timeout': NUMBER,
    },
}
# rviz_default_plugins/src/rviz_default_plugins/tools/
TOOL_CLASSES = {
    f'{PLUGINS}/MoveCamera': {},  # move/move_tool.cpp
    f'{PLUGINS}/Select': {},  # select/selection_tool.cpp
    f'{PLUGINS}/FocusCamera': {},  # focus_camera/focus_tool.cpp
    f'{PLUGINS}/Measure': {'Line color': COLOUR},  # measure/measure_tool.cpp
}
VIEW_CLASSES = {
    # view_controllers/orbit/orbit_view_controller.cpp; rviz_common/src/rviz_common/
    # view_controller.cpp, frame_position_tracking_view_controller.cpp
    f'{PLUGINS}/Orbit': {
        'Class': TEXT,
        'Name': TEXT,
        'Value': TEXT,
        'Distance': NUMBER,
        'Yaw': NUMBER,
        'Pitch': NUMBER,
        'Focal Point': VECTOR,
        'Target Frame': TEXT,
        'Near Clip Distance': NUMBER,
        'Invert Z Axis': BOOL,
    },
}
# rviz_common/src/rviz_common/panel_factory.cpp
PANEL_CLASSES = {
    f'rviz_common/{name}'
    for name in (
        'Displays',
        'Help',
        'Selection',
        'Time',
        'Tool Properties',
        'Transformation',
        'Views',
    )
}
# rviz_common/src/rviz_common/visualization_manager.cpp
GLOBAL_OPTIONS = {'Fixed Frame': TEXT, 'Background Color': COLOUR, 'Frame Rate': NUMBER}


def faults(config: dict[str, Any], known: dict[str, Any], where: str) -> list[str]:
    """What RViz would ignore or misread."""
    found = []
    for name, value in config.items():
        if name not in known:
            found.append(f'{where}: no property {name}')
        elif isinstance(known[name], dict):
            found += faults(value, known[name], f'{where}/{name}')
        elif not fits(value, known[name]):
            found.append(f'{where}: {name} cannot be {value!r}')
    return found


def fits(value: Any, kind: str | set[str]) -> bool:
    if isinstance(kind, set):
        return value in kind
    if kind == COLOUR:  # rviz_common/src/rviz_common/properties/parse_color.cpp
        parts = str(value).split(';')
        return len(parts) == 3 and all(0 <= int(part) <= 255 for part in parts)
    if kind == NUMBER:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, bool if kind == BOOL else str)


@pytest.mark.parametrize('display', DISPLAYS, ids=lambda display: display['Name'])
def test_displays_have_classes_and_properties_of_rviz(display):
    assert not faults(display, DISPLAY_CLASSES[display['Class']], display['Name'])
    assert display['Enabled'] == display['Value']


@pytest.mark.parametrize(
    'change',
    [
        {'Colour': '1; 2; 3'},
        {'Style': 'Dots'},
        {'Color': '1, 2, 3'},
        {'Alpha': 'much'},
        {'Topic': {'Reliability Policy': 'best effort'}},
    ],
)
def test_the_check_finds_what_rviz_does_not_know(change):
    assert len(faults(change, DISPLAY_CLASSES[f'{PLUGINS}/PointCloud2'], '')) == 1


def test_tools_views_panels_and_options_are_those_of_rviz():
    for tool in MANAGER['Tools']:
        assert not faults(
            {name: tool[name] for name in tool if name != 'Class'},
            TOOL_CLASSES[tool['Class']],
            tool['Class'],
        )
    view = MANAGER['Views']['Current']
    assert not faults(view, VIEW_CLASSES[view['Class']], 'view')
    assert {panel['Class'] for panel in CONFIG['Panels']} <= PANEL_CLASSES
    assert not faults(MANAGER['Global Options'], GLOBAL_OPTIONS, 'Global Options')
    assert MANAGER['Transformation']['Current']['Class'] == f'{PLUGINS}/TF'


def test_camera_and_every_output_for_people_are_shown():
    shown = {display['Topic']['Value']: display for display in DISPLAYS if 'Topic' in display}
    # Without depth/image: a panel that becomes visible enables its display, which subscribes.
    assert set(shown) == {'/camera/image_raw', '/depth/image_color', '/depth/points', '/scan'}
    assert any(display['Class'] == f'{PLUGINS}/TF' for display in DISPLAYS)


def test_subscriptions_fit_the_publishers():
    for display in DISPLAYS:
        if 'Topic' in display:
            topic = display['Topic']
            # A camera may be best effort; the node's outputs are reliable, which large ones need.
            camera = topic['Value'] == '/camera/image_raw'
            assert topic['Reliability Policy'] == ('Best Effort' if camera else 'Reliable')
            assert topic['Durability Policy'] == 'Volatile'


def docks(state: bytes) -> dict[str, bool]:
    """The docks in a QMainWindow's state by name, and whether each is visible.

    Format: saveState in qtbase/src/widgets/widgets/qdockarealayout.cpp: 0xfb, name (UTF-16 with its
    length in bytes), flags with 1 for visible.
    """
    found, at = {}, 0
    while (at := state.find(b'\xfb\0\0\0', at)) >= 0:
        length = int.from_bytes(state[at + 1 : at + 5], 'big')
        name = state[at + 5 : at + 5 + length].decode('utf-16-be')
        found[name] = bool(state[at + 5 + length] & 1)
        at += 5 + length
    return found


def test_the_window_has_its_panels_and_pictures_in_place():
    geometry = CONFIG['Window Geometry']
    pictures = {display['Name'] for display in DISPLAYS if display['Class'] == f'{PLUGINS}/Image'}
    shown = docks(bytes.fromhex(geometry['QMainWindow State']))
    # rviz_common/src/rviz_common/visualization_frame.cpp, addPane: an object name is the pane's.
    assert shown == {'Displays': True, 'Views': False, **dict.fromkeys(pictures, True)}
    assert {name: not shown[name] for name in shown} == {
        name: geometry[name]['collapsed'] for name in shown
    }


def test_obstacles_stand_out_and_the_floor_has_a_grid():
    (scan,) = (display for display in DISPLAYS if display['Class'] == f'{PLUGINS}/LaserScan')
    (cloud,) = (display for display in DISPLAYS if display['Class'] == f'{PLUGINS}/PointCloud2')
    assert scan['Style'] == 'Spheres' and scan['Size (m)'] >= 0.05
    assert cloud['Alpha'] < scan['Alpha']
    (grid,) = (display for display in DISPLAYS if display['Class'] == f'{PLUGINS}/Grid')
    # In an optical frame y points down.
    assert grid['Plane'] == 'XZ' and grid['Offset']['Y'] > 0


@pytest.fixture
def launch_file(monkeypatch) -> dict[str, Any]:
    """What depth.launch.py defines; launch is stood in for where it is missing."""
    if importlib.util.find_spec('launch_ros') is None:
        for name in (
            'launch',
            'launch.action',
            'launch.actions',
            'launch.substitutions',
            'launch_ros',
            'launch_ros.actions',
            'launch_ros.utilities',
        ):
            monkeypatch.setitem(sys.modules, name, MagicMock())
    return runpy.run_path(str(Path(__file__).parents[1] / 'launch' / 'depth.launch.py'))


NOTHING = {
    'frame': 'a_optical_frame',
    'base_frame': '',
    'camera_pitch': '',
    'camera_height': '',
    'camera_tf': 'false',
}


@pytest.mark.parametrize(
    ('given', 'frame', 'plane', 'offset'),
    [
        (
            {'base_frame': 'base_footprint', 'camera_height': '0.5'},
            'base_footprint',
            'XY',
            (0, 0, 0),
        ),
        ({'camera_height': '0.5'}, 'a_optical_frame', 'XZ', (0, 0.5, 0)),
        ({'camera_height': '0.5', 'camera_pitch': '10'}, 'a_level_frame', 'XY', (0, 0, -0.5)),
    ],
)
def test_the_grid_is_on_the_floor_where_that_is_known(launch_file, given, frame, plane, offset):
    grid = launch_file['floor']({**NOTHING, **given})
    assert (grid['Reference Frame'], grid['Plane']) == (frame, plane)
    assert tuple(grid['Offset'].values()) == offset
    assert not launch_file['floor'](NOTHING)
    assert not faults(grid, DISPLAY_CLASSES[f'{PLUGINS}/Grid'], 'Floor')


def test_a_launch_with_rviz_says_what_the_scan_lacks(launch_file):
    remark = launch_file['scan_remark']
    assert 'a_frame with a_optical_frame' in remark(NOTHING)
    assert 'camera_tf:=true' in remark(NOTHING)
    for given in (
        {'camera_tf': 'True'},
        {'base_frame': 'base'},
        {'camera_pitch': '10'},
        {'frame': 'lens'},
    ):
        assert not remark({**NOTHING, **given})
    for name in ('a_optical_frame', 'b_optical_link', 'lens', 'c_frame_optical'):
        assert launch_file['level_frame'](name) == level_frame(name)


def test_depth_is_shown_in_a_fixed_range():
    """A range that follows each image flickers."""
    for display in DISPLAYS:
        assert not display.get('Normalize Range', False)


def test_the_view_looks_forward_from_behind_and_above():
    """In an optical frame: z forward, y down. Formula: orbit_view_controller.cpp, updateCamera."""
    view = MANAGER['Views']['Current']
    assert not view.get('Invert Z Axis', False)
    yaw, pitch = view['Yaw'], view['Pitch']
    focus = np.array([view['Focal Point'][axis] for axis in 'XYZ'], float)
    offset = np.array([cos(yaw) * cos(pitch), sin(yaw) * cos(pitch), sin(pitch)])
    x, y, z = focus + view['Distance'] * offset
    assert abs(x) < 0.01 and y < -1 and z < -1
    forward = -offset
    up = np.array([0, 0, 1]) - forward[2] * forward
    assert np.cross(forward, up)[0] > 0, 'the right of the screen is the right of the image'
