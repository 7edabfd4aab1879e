# SPDX-License-Identifier: Apache-2.0
"""Benchmarks and long tests: run `python -m benchmarks.NAME` in the project folder."""
