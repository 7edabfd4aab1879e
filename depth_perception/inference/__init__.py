# SPDX-License-Identifier: Apache-2.0
"""Run a network: from an image to metric depth on a device."""
