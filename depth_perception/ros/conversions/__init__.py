# SPDX-License-Identifier: Apache-2.0
"""Convert ROS messages, stamps, topics and transforms to and from plain values."""
