"""MLflow: told of every release, and listened to for promotions; nothing waits for it."""
