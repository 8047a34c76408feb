"""The worker processes that hold a release's model, and the wire protocol to them."""
