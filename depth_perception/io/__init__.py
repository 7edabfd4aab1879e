# SPDX-License-Identifier: Apache-2.0
"""Files and bytes: weights, bags, images, videos, point clouds."""
