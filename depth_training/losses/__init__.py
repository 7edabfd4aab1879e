# SPDX-License-Identifier: Apache-2.0
"""Losses and the masked means they share."""
