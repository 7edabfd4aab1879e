# SPDX-License-Identifier: Apache-2.0
"""Ways to run a network; what goes in and out is the same for all (see base.Backend)."""
