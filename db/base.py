"""The declarative base: how Python types become columns, how constraints are named."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import DateTime, Dialect, MetaData, Text, TypeDecorator
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase

from common.text import make_json_storable, make_storable

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class StorableText(TypeDecorator[str]):
    """Text; what Postgres cannot store of it is kept as its escape, whoever wrote it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        return value if value is None else make_storable(value)


class StorableJson(TypeDecorator[Any]):
    """JSONB; what Postgres cannot store of its texts is kept as its escape."""

    impl = JSONB
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        return make_json_storable(value)


class Base(DeclarativeBase):
    """What `Mapped` says is enough: text without a length, times with a zone, dicts and lists as JSONB."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {
        str: StorableText,
        datetime: DateTime(timezone=True),
        dict[str, Any]: StorableJson,
        dict[str, float]: StorableJson,
        list[Any]: StorableJson,
    }


class Words(TypeDecorator[StrEnum]):
    """An enum kept as its value in a text column: a new word needs no ALTER TYPE.

    A word that this process does not know, of a newer one beside it, is read as `unknown`.
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
