from tests.support.environments import default_environment  # noqa: F401
