# SPDX-License-Identifier: Apache-2.0
"""`depth-perception view`: camera, depth, cloud and scan live in a browser; free of ROS."""
