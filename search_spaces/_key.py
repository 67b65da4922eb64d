"""What tells configurations apart, wherever they were stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from numbers import Real


def configuration_key(configuration: Mapping[str, object]) -> str:
    """Return a stored configuration as a text that is the same whenever its values are, whole numbers or not.

    >>> configuration_key({"rho": 1.0, "lr": 0.1}) == configuration_key({"lr": 0.1, "rho": 1})
    True
    """
    return json.dumps({name: _as_float(value) for name, value in configuration.items()}, sort_keys=True)


def _as_float(value: object) -> object:
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else value
