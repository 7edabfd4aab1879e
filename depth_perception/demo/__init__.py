# SPDX-License-Identifier: Apache-2.0
"""The demo: play a bag to the node and write pictures and figures."""
