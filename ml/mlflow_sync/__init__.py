"""The synchronisation with MLflow: exports every release, imports promotions; nothing waits for it."""
