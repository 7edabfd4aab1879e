# SPDX-License-Identifier: Apache-2.0
"""From a depth image to what people use: masked depth, point cloud, obstacle scan, preview."""
