"""The tables that both sides share; every query lives here."""
