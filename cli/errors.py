"""Errors that a person must fix before the appliance can run."""


class UserError(Exception):
    """A user's error, printed in one line without a traceback: the cause, and what to do about it."""
