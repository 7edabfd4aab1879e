# SPDX-License-Identifier: Apache-2.0
"""Run the node's pipeline on a recording, without a node."""
