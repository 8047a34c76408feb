"""What an alarm leads to: people are told, and a retraining is suggested or falls due."""

from dataclasses import replace

from sqlalchemy.orm import Session, sessionmaker

from db import alarms, deployments, monitor_results, retrainings
from db.retraining_plans import LiveModel
from db.session import notify
from db.states import Trigger
from ml.settings import ModelConfig


def record_drift(
    sessions: sessionmaker[Session], model: ModelConfig, live: LiveModel, reason: str | None
) -> None:
    """Store that the requests of a model have changed, or not (None), and act on it."""
    record_alarm(sessions, model, live, Trigger.DRIFT, reason)


def record_decay(
    sessions: sessionmaker[Session], model: ModelConfig, live: LiveModel, reason: str | None
) -> None:
    """Store that the predictions of a model have become worse, or not (None), and act on it."""
    record_alarm(sessions, model, live, Trigger.DECAY, reason)


def record_alarm(
    sessions: sessionmaker[Session],
    model: ModelConfig,
    live: LiveModel,
    trigger: Trigger,
    reason: str | None,
) -> None:
    """Store the alarm. One to retrain for falls due in the controller, where limits and pauses hold."""
    section = model.find_retrain(live.retrain)
    reaction = section.drift if trigger is Trigger.DRIFT else section.decay
    with sessions.begin() as session:
        deployments.lock_model(session, model.name)
        lasts = monitor_results.record_alarm(session, model.name, live.release, trigger, reason)
        if not lasts or reaction == "off":
            return
        occasion = alarms.find_alarm(session, model.name, live.release, trigger)
        if occasion is None:
            return
        if reaction == "suggest":
            # apart from one that falls due: the setting may change while the suggestion stands
            retrainings.suggest(session, model.name, replace(occasion, key=f"{occasion.key} suggested"))
        else:
            notify(session, "releases", model.name)
