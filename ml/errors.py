"""Whose fault it was: `Rejected` the commit's, `Unavailable` the world's, anything else is a bug of ours."""


class Rejected(Exception):
    """The commit is at fault; never tried again. The text is for the data scientist who wrote it."""


class Unavailable(Exception):
    """Something outside was not ready; tried again later. The text is for whoever runs the appliance."""


class Strained(Unavailable):
    """It took too long or was killed: a busy machine, or else the model. Who tries again decides which."""
