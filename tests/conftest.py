"""For all tests."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("carillon", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# What CI refuses is what a change has broken: the same examples each time. Everywhere else each run tries new
# ones, and keeps those that fail.
settings.register_profile("ci", settings.get_profile("carillon"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "carillon")
