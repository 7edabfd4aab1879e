# SPDX-License-Identifier: Apache-2.0
"""The 249 training scenes of NYU Depth v2's official split; all other scenes are for testing.

A scene may have several raw folders, distinguished by a letter: `kitchen_0011a` is a part of
`kitchen_0011`. All parts of a scene belong to the same split.
"""

from __future__ import annotations

import re

# fmt: off
_NUMBERS = {
    'basement': '0001',
    'bathroom':
        '0001 0002 0005 0006 0007 0010 0011 0013 0014 0016 0019 0023 0024 0028 0030 0033 0034 '
        '0035 0039 0041 0042 0045 0048 0049 0050 0051 0053 0054 0055 0056 0057',
    'bedroom':
        '0004 0010 0012 0014 0015 0016 0017 0019 0020 0021 0025 0026 0028 0029 0031 0033 0034 '
        '0035 0036 0038 0039 0040 0041 0042 0045 0047 0050 0051 0052 0053 0056 0057 0059 0060 '
        '0062 0063 0065 0066 0067 0069 0071 0072 0074 0076 0078 0079 0080 0081 0082 0086 0090 '
        '0094 0096 0097 0098 0100 0104 0106 0107 0113 0116 0118 0120 0124 0125 0126 0129 0130 '
        '0132 0136 0138 0140',
    'bookstore': '0001',
    'cafe': '0001',
    'classroom': '0003 0004 0005 0006 0010 0011 0012 0016 0018 0022',
    'computer_lab': '0002',
    'conference_room': '0001 0002',
    'dinette': '0001',
    'dining_room':
        '0001 0002 0004 0007 0008 0010 0012 0013 0014 0015 0016 0019 0023 0024 0028 0029 0031 '
        '0033 0034 0037',
    'excercise_room': '0001',
    'foyer': '0002',
    'furniture_store': '0001 0002',
    'home_office': '0004 0005 0006 0007 0008 0011 0013',
    'home_storage': '0001',
    'indoor_balcony': '0001',
    'kitchen':
        '0003 0006 0008 0010 0011 0016 0017 0019 0028 0029 0031 0033 0035 0037 0041 0043 0045 '
        '0047 0048 0049 0050 0051 0052 0053 0059 0060',
    'laundry_room': '0001',
    'living_room':
        '0004 0005 0006 0010 0011 0012 0018 0019 0020 0022 0029 0032 0033 0035 0037 0038 0039 '
        '0040 0042 0046 0047 0050 0055 0058 0062 0063 0067 0068 0069 0070 0071 0078 0082 0083 '
        '0085 0086',
    'nyu_office': '0 1',
    'office': '0003 0004 0006 0009 0011 0012 0018 0019 0021 0023 0024 0025 0026',
    'office_kitchen': '0001 0003',
    'playroom': '0002 0003 0004 0006',
    'printer_room': '0001',
    'reception_room': '0001 0002 0004',
    'student_lounge': '0001',
    'study': '0003 0004 0005 0006 0008',
    'study_room': '0004 0005',
}
# fmt: on
TRAINING_SCENES = frozenset(
    f'{kind}_{number}' for kind, numbers in _NUMBERS.items() for number in numbers.split()
)


def base_name(folder: str) -> str:
    """Return a scene's name without the letter of its part."""
    return re.sub(r'(?<=\d)[a-z]$', '', folder)


def is_for_training(folder: str) -> bool:
    """Tell if the raw folder of that name belongs to the official training split."""
    return base_name(folder) in TRAINING_SCENES
