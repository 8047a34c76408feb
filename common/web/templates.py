"""Templates of pages: everything escaped, nothing from another host."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

RESOURCES = Path(__file__).parents[2] / "resources"
STATIC_FOLDER = RESOURCES / "static"


def create_templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(RESOURCES / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def build_security_headers(*, allow_scripts: bool, vary: str) -> dict[str, str]:
    """Return the headers of a page, whose scripts, if any, are files of ours that call us alone."""
    scripts = "script-src 'self'; connect-src 'self'; " if allow_scripts else ""
    return {
        "Content-Security-Policy": f"default-src 'none'; {scripts}style-src 'self'; img-src 'self' data:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Vary": vary,
    }
