from tests.harness.environments import default_environment  # noqa: F401
