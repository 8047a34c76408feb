"""Programs of docker-compose.yaml's containers besides the services: Postgres's start, migration, health."""
