# SPDX-License-Identifier: Apache-2.0
"""The node's pipeline over a recording, without a node."""
