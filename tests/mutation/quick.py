"""A pytest plugin (``-p tests.mutation.quick``): hypothesis stops at the first counterexample, as nobody
reads a smaller one, and tries the same examples for every mutant."""

from __future__ import annotations

from hypothesis import Phase, settings

settings.register_profile(
    "mutants", phases=[Phase.explicit, Phase.generate], database=None, derandomize=True, deadline=None
)
settings.load_profile("mutants")
