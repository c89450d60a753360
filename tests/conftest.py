"""Settings of the whole suite.

Hypothesis draws the same examples on every run, and as many seconds as it needs: a red run then means a mistake of this
change, not a busy machine or an example that nobody has drawn before. ``--hypothesis-profile=explore`` draws new ones;
`make test-all` does.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")
