"""Helpers of tests in several packages: environments, repositories, servers."""
