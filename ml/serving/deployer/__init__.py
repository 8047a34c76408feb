"""The deployment of the wanted release: start, readiness check, switch and rollback."""
