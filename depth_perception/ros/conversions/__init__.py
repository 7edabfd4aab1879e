# SPDX-License-Identifier: Apache-2.0
"""ROS messages, stamps, topics and transforms to and from plain values."""
