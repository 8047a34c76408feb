"""The declarative base: columns of Python types, names of constraints."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import DateTime, Dialect, MetaData, Text, TypeDecorator
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase

from common.text import make_json_storable, make_storable

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class StorableText(TypeDecorator[str]):
    """A text column; characters that Postgres cannot store are escaped, whoever wrote them."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        return value if value is None else make_storable(value)


class StorableJson(TypeDecorator[Any]):
    """A JSONB column; characters in texts that Postgres cannot store are escaped."""

    impl = JSONB
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        return make_json_storable(value)


class Base(DeclarativeBase):
    """The base of the tables: text without a length, times with a zone, dicts and lists as JSONB."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {
        str: StorableText,
        datetime: DateTime(timezone=True),
        dict[str, Any]: StorableJson,
        dict[str, float]: StorableJson,
        list[Any]: StorableJson,
    }


class TextEnum(TypeDecorator[StrEnum]):
    """An enum stored as its value in a text column: a new value needs no ALTER TYPE.

    A value that this process does not have, written by a newer one, is read as `unknown`.
    """

    impl = Text
    cache_ok = True

    def __init__(self, enum: type[StrEnum]) -> None:
        super().__init__()
        self.enum = enum

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        return value if value is None else self.enum(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:  # noqa: ARG002
        if value is None:
            return None
        try:
            return self.enum(value)
        except ValueError:
            return self.enum("unknown")
