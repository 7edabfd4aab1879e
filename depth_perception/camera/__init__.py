# SPDX-License-Identifier: Apache-2.0
"""Camera model, calibration and calibration files."""
