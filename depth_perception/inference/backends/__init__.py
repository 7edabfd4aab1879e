# SPDX-License-Identifier: Apache-2.0
"""Backends that run a network; all have the same inputs and outputs (see base.Backend)."""
