# SPDX-License-Identifier: Apache-2.0
"""Reports and model cards: comparison with the papers' tables, curves, images."""
