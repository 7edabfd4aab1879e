# SPDX-License-Identifier: Apache-2.0
"""Reports and model cards: tables beside the papers', curves, pictures."""
