"""HTTP code of every service: listening, host names, limits on bodies."""
