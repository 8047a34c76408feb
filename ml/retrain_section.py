"""The section `[retrain]` of `slipway.toml` and `models.toml`."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, PlainSerializer, ValidationError

from common.units import format_duration, parse_duration
from ml.cron import MAX_CHARS, ScheduleError, check_schedule
from ml.section import Section, merge_sections

Reaction = Literal["off", "suggest", "retrain"]
MAX_BUDGET = 1000  # retrainings a week
MAX_SHOWN_CHARS = 60  # of a value in an error
ZONE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+_-]*(/[A-Za-z0-9][A-Za-z0-9+_-]*){0,2}")
MAX_ZONE_CHARS = 64


def to_value_error(value: object, problem: str) -> ValueError:
    """Return an error with the value, as far as it can be read, and what to write in its place."""
    shown = repr(value)
    return ValueError(f"{shown[:MAX_SHOWN_CHARS]}{'…' if len(shown) > MAX_SHOWN_CHARS else ''} {problem}")


def parse_schedule(value: object) -> str:
    cure = f'write five fields of at most {MAX_CHARS} characters, as "0 3 * * 1" for Mondays at 03:00'
    if not isinstance(value, str):
        raise to_value_error(value, f"is no text: {cure}")
    try:
        check_schedule(value)
    except ScheduleError as error:
        raise to_value_error(value, f"{error}: {cure}") from error
    return " ".join(value.split())


def parse_timezone(value: object) -> str:
    is_name = isinstance(value, str) and len(value) <= MAX_ZONE_CHARS and ZONE_NAME.fullmatch(value)
    try:
        return ZoneInfo(str(value) if is_name else "").key
    except (ValueError, OSError, KeyError) as error:
        cure = 'write a name of the IANA database, as "Europe/Berlin" or "UTC"'
        raise to_value_error(value, f"is not a time zone that is known here: {cure}") from error


def parse_flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise to_value_error(value, "is neither of both: write true or false, without quotes")
    return value


def parse_reaction(value: object) -> Reaction:
    """Return what to do; `true` and `false` are read as `suggest` and `off`."""
    if value is True or value == "suggest":
        return "suggest"
    if value is False or value == "off":
        return "off"
    if value == "retrain":
        return "retrain"
    raise to_value_error(value, 'is not known: write "off", "suggest" or "retrain"')


def parse_cooldown(value: object) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise to_value_error(value, str(error)) from error


def parse_budget(value: object) -> int:
    if type(value) is not int or not 1 <= value <= MAX_BUDGET:
        raise to_value_error(value, f"is not a number of retrainings a week: write 1 to {MAX_BUDGET}")
    return value


Flag = Annotated[bool, BeforeValidator(parse_flag)]
Reacts = Annotated[Reaction, BeforeValidator(parse_reaction)]
Schedule = Annotated[str, BeforeValidator(parse_schedule)]
# it is stored as it is written
Cooldown = Annotated[float, BeforeValidator(parse_cooldown), PlainSerializer(format_duration)]


class RetrainSection(Section):
    """When the live commit is trained again without a merge; nothing set: never."""

    schedule: Schedule | None = None  # in cron syntax: "0 3 * * 1"
    timezone: Annotated[str, BeforeValidator(parse_timezone)] = "UTC"
    on_data: Flag = False  # when an address in [data] has something new
    drift: Reacts = "off"
    decay: Reacts = "off"
    cooldown: Cooldown = 86400.0  # seconds between two retrainings
    budget: Annotated[int, BeforeValidator(parse_budget)] = 3  # retrainings a week
    warm_start: Flag = False  # train() gets the live model

    @property
    def is_on(self) -> bool:
        """Return whether something begins a retraining without a person."""
        has_alarms = "retrain" in (self.drift, self.decay)
        return self.schedule is not None or self.on_data or has_alarms

    def with_defaults(self, other: "RetrainSection") -> "RetrainSection":
        """Return this section, completed by what only `other` sets."""
        return merge_sections(self, other)

    def to_document(self) -> dict[str, Any]:
        """Return what is set, as `load_stored` reads it."""
        return self.model_dump(exclude_unset=True)


def load_stored(document: Mapping[str, Any] | None) -> RetrainSection:
    """Return the section that was stored with a release; an empty one where it cannot be read any more."""
    try:
        return RetrainSection.model_validate(document or {})
    except ValidationError:  # written by another version, or for a time zone that is gone
        return RetrainSection()
