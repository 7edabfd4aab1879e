# SPDX-License-Identifier: Apache-2.0
"""The raw dump of NYU Depth v2: synchronise, project, prepare."""
