"""What every test may use. The servers come from the environment that `./dev test` sets."""

from hypothesis import HealthCheck, settings

# How long an example takes says nothing on a machine that does other things as well.
settings.register_profile("isekai", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("isekai")
