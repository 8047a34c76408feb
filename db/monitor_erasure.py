"""The erasure of what the monitor made of recorded requests: baselines, and values in its findings."""

from collections.abc import Sequence

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session, load_only

from db.models import Release
from db.monitor_results import STATISTICS

RECORDED_ADDRESS = "slipway://recorded"
ERASE_FINDINGS = text("""
    UPDATE drift_windows
    SET findings = (
        SELECT coalesce(jsonb_agg(reduced.finding ORDER BY place), '[]')
        FROM jsonb_array_elements(findings) WITH ORDINALITY AS one (finding, place)
        CROSS JOIN LATERAL (
            SELECT jsonb_object_agg(key, value) AS finding
            FROM jsonb_each(one.finding) WHERE key = ANY(CAST(:kept AS text[]))
        ) AS reduced
    )
    WHERE model = :model AND release_id = ANY(CAST(:releases AS integer[])) AND EXISTS (
        SELECT FROM jsonb_array_elements(findings) AS finding, jsonb_object_keys(finding) AS key
        WHERE key <> ALL(CAST(:kept AS text[]))
    )
""")


def forget_baselines(session: Session, model: str) -> list[Release]:
    """Forget the drift baselines that were made of recorded requests; return their releases.

    The caller removes the files before the transaction ends, and holds `deployments.lock_model`: the monitor
    stores none meanwhile. It makes another one of the rows that are left.
    """
    is_recorded = (Release.drift_source == "requests") | Release.data["train"]["from"].astext.startswith(
        RECORDED_ADDRESS
    )
    columns = load_only(Release.model, Release.trigger, Release.pull_request, Release.ref, Release.commit)
    found = select(Release).where(Release.model == model, Release.drift_baseline.is_not(None), is_recorded)
    releases = list(session.scalars(found.options(columns)))
    of_releases = Release.id.in_([release.id for release in releases])
    session.execute(
        update(Release).where(of_releases).values(drift_baseline=None, drift_source=None),
        execution_options={"synchronize_session": False},
    )
    return releases


def erase_findings(session: Session, model: str, releases: Sequence[int]) -> None:
    """Leave of these releases' drift nothing but statistics: the rest shows values of their baselines."""
    parameters = {"model": model, "releases": list(releases), "kept": list(STATISTICS)}
    session.execute(ERASE_FINDINGS, parameters)
