# SPDX-License-Identifier: Apache-2.0
"""Play a recording to the node, and check its outputs."""
