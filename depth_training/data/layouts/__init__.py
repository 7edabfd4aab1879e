# SPDX-License-Identifier: Apache-2.0
"""One reader for each layout of RGB-D data."""
