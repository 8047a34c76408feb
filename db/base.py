"""The declarative base: how Python types become columns, how constraints are named."""

from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, Enum, MetaData, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """What `Mapped` says is enough: text without a length, times with a zone, dicts and lists as JSONB."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {
        str: Text,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        dict[str, float]: JSONB,
        list[Any]: JSONB,
    }


def words(enum: type) -> Enum:
    """An enum kept as its value in a text column: a new word needs no ALTER TYPE."""
    return Enum(
        enum, native_enum=False, create_constraint=False, values_callable=lambda e: [m.value for m in e]
    )
