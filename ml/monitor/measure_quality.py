"""The quality of a model's recorded predictions that have ground truth."""

from sqlalchemy.orm import Session, sessionmaker

from db.retraining_plans import LiveModel
from ml.settings import MlSettings, ModelConfig


def measure_quality(
    sessions: sessionmaker[Session],
    settings: MlSettings,
    model: ModelConfig,
    live: LiveModel,
) -> str | None:
    """Measure and store the quality of what a model serves; return why it decays, None where it does not."""
    return None
