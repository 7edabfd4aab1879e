# SPDX-License-Identifier: Apache-2.0
"""Convert the raw NYU Depth v2 data: synchronise, project, write pairs."""
