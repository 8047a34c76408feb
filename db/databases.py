"""Creation of databases on a Postgres server."""

import psycopg2
from psycopg2 import sql


def create(server: str, name: str) -> None:
    """Create the database `name` where it is missing; `server` is the address of another one there."""
    connection = psycopg2.connect(server)
    try:
        connection.autocommit = True  # CREATE DATABASE allows no transaction
        cursor = connection.cursor()
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if not cursor.fetchone():
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    finally:
        connection.close()
