"""What tests in several rooms need: environments, repositories, servers."""
