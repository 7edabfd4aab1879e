# SPDX-License-Identifier: Apache-2.0
"""Losses, and the masks that they share."""
