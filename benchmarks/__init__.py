# SPDX-License-Identifier: Apache-2.0
"""Measurements and long tests: `python -m benchmarks.NAME` in the project's folder."""
