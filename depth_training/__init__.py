# SPDX-License-Identifier: Apache-2.0
"""Training and evaluation of the networks that the depth node runs."""
