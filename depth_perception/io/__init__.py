# SPDX-License-Identifier: Apache-2.0
"""Read and write weights, bags, images, videos and point clouds."""
