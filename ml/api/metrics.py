"""The order of a release's metrics, the same everywhere: the gate's first, then as the model gave them."""

from db.models import Release

OWN = "slipway.toml has no [gate]"  # so the note begins where the rules are not the repository's


def in_order(release: Release) -> dict[str, float] | None:
    """Those that the repository's gate judges, the one that the model is evaluated by, the others."""
    known = release.verdict or {}
    rules = [] if (known.get("note") or "").startswith(OWN) else known.get("rules", [])
    main = str((release.info or {}).get("Evaluation metric", "")).lower()
    gated = [rule["metric"] for rule in rules]
    given = release.metrics or {}
    names = [*gated, *(name for name in given if name.lower() == main), *given]
    return {name: given[name] for name in dict.fromkeys(names) if name in given} or release.metrics
