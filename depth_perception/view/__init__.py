# SPDX-License-Identifier: Apache-2.0
"""`depth-perception view`: show camera, depth, cloud and scan live in a browser, without ROS."""
