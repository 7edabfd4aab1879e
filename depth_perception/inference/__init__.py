# SPDX-License-Identifier: Apache-2.0
"""Running a network: from an image on a device to metric depth on it."""
