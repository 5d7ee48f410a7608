"""For all tests: a busy machine makes none of them fail."""

from hypothesis import HealthCheck, settings

settings.register_profile("pointsman", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pointsman")
