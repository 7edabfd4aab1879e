# SPDX-License-Identifier: Apache-2.0
"""Independent lens models, with which tests compare the code."""

from __future__ import annotations

import numpy as np


def brown(x, y, d):
    """plumb_bob and rational_polynomial (Brown 1966; OpenCV's and ROS's coefficients' order)."""
    k1, k2, p1, p2, k3, k4, k5, k6 = np.pad(np.asarray(d, float), (0, 8 - len(d)))
    r2 = x * x + y * y
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    return (
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
    )


def kannala_brandt(x, y, d):
    """equidistant (Kannala and Brandt 2006): the radius depends on the angle, not its tangent."""
    r = np.hypot(x, y)
    theta = np.arctan(r)
    bent = theta * (1 + sum(k * theta ** (2 * i + 2) for i, k in enumerate(d)))
    scale = np.where(r > 1e-9, bent / np.maximum(r, 1e-9), 1)
    return x * scale, y * scale


def undone(x, y, distort, d):
    """Invert the lens by Newton's method, with derivatives by differences."""
    a, b, step = x.copy(), y.copy(), 1e-6
    for _ in range(20):
        u, v = distort(a, b, d)
        ux, vx = (np.array(distort(a + step, b, d)) - (u, v)) / step
        uy, vy = (np.array(distort(a, b + step, d)) - (u, v)) / step
        determinant = ux * vy - uy * vx
        a_step = (vy * (u - x) - uy * (v - y)) / determinant
        b_step = (ux * (v - y) - vx * (u - x)) / determinant
        a, b = a - a_step, b - b_step
        if max(np.abs(a_step).max(), np.abs(b_step).max()) < 1e-9:
            break
    return a, b


#: Model, coefficients and function by name.
LENSES = {
    'plumb_bob': ('plumb_bob', (-0.28, 0.09, 0.001, -0.0007, -0.01), brown),
    'plumb_bob of 4': ('plumb_bob', (0.12, -0.05, 0.0, 0.001), brown),
    'rational_polynomial': (
        'rational_polynomial',
        (0.4, -0.1, 0.0005, -0.0003, 0.02, 0.6, -0.05, 0.03),
        brown,
    ),
    'equidistant': ('equidistant', (-0.02, 0.005, -0.002, 0.0004), kannala_brandt),
}
