# SPDX-License-Identifier: Apache-2.0
"""The demo: a bag in, pictures and figures out, over real ROS 2 processes."""
