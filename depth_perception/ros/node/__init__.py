# SPDX-License-Identifier: Apache-2.0
"""The node: lifecycle, worker, pipeline, parameters, diagnostics."""
