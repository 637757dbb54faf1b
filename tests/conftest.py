"""What all tests share: hypothesis without clocks, since machines differ and are shared."""

from hypothesis import HealthCheck, settings

# On a fresh clone the first example also builds hypothesis' tables of characters, which takes seconds.
settings.register_profile("ours", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ours")
