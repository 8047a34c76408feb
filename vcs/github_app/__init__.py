"""What GitHub is called with: a token, or the installation tokens of a GitHub App."""

from vcs.github_app.access import AppError, BadAppError, GitHubAccess, KeyFileError, TokenAccess
from vcs.settings import VcsSettings

__all__ = ["AppError", "BadAppError", "GitHubAccess", "KeyFileError", "TokenAccess", "open_access"]


def open_access(settings: VcsSettings) -> GitHubAccess:
    """Return the App's access where one is set, else that of GITHUB_TOKEN.

    Raises `KeyFileError` where the App's key cannot be used.
    """
    if settings.github_app_id is None or settings.github_app_key_file is None:
        return TokenAccess(settings.github_token.get_secret_value())
    from vcs.github_app.installations import AppAccess  # noqa: PLC0415 (cryptography is large)

    return AppAccess(settings.github_app_id, settings.github_app_key_file, settings.github_api_url)
