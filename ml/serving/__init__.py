"""What is live: workers that hold it, the switch from one release to the next, predictions over HTTP."""
