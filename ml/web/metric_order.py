"""The order of a release's metrics, the same everywhere: the gate's first, then the model's own order."""

from db.models import Release

# the note's beginning where the rules are not the repository's
DEFAULT_GATE_NOTE = "slipway.toml has no [gate]"


def order_metrics(release: Release) -> dict[str, float] | None:
    """Return the metrics of the repository's gate, then the model's evaluation metric, then the others."""
    verdict = release.verdict or {}
    rules = [] if (verdict.get("note") or "").startswith(DEFAULT_GATE_NOTE) else verdict.get("rules", [])
    main = str((release.info or {}).get("Evaluation metric", "")).lower()
    gated = [rule["metric"] for rule in rules]
    given = release.metrics or {}
    names = [*gated, *(name for name in given if name.lower() == main), *given]
    return {name: given[name] for name in dict.fromkeys(names) if name in given} or release.metrics
