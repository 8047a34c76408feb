"""Databases of a Postgres server: makes the one that an appliance keeps its tables in."""

import psycopg2
from psycopg2 import sql


def create(server: str, name: str) -> None:
    """Make the database `name` where it is missing; `server` is the address of another one beside it."""
    connection = psycopg2.connect(server)
    try:
        connection.autocommit = True  # CREATE DATABASE allows no transaction
        cursor = connection.cursor()
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if not cursor.fetchone():
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    finally:
        connection.close()
