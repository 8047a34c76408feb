"""Previews: any release that has a model answers operators, beside the live one; see docs/preview.md."""
