"""What a person must put right before the appliance can run."""


class Trouble(Exception):
    """Said in one line and without a traceback: what is wrong, and what to do about it."""
