"""Errors by whose fault they are: `RejectedError` the commit's, `UnavailableError` external, others a bug of
ours.
"""


class RejectedError(Exception):
    """An error of the commit; never retried. The text is for the data scientist who wrote it."""


class UnavailableError(Exception):
    """A failure of something external; retried later. The text is for whoever runs the appliance."""


class LoginRefusedError(UnavailableError):
    """A git server does not accept the login that it was given."""


class ResourceExhaustedError(UnavailableError):
    """A timeout or a kill: a busy machine's fault, or else the model's. The retrying caller decides which."""
