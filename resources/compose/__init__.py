"""What the containers of docker-compose.yaml run beside the services: Postgres's start, migration, health."""
