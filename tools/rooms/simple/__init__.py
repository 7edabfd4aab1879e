# SPDX-License-Identifier: Apache-2.0
"""Furnished rooms of simple geometry: planned and modelled with numpy, rendered with Blender."""
