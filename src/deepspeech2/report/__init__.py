"""Renders a tally as a table, JSON, CSV or Markdown; never sees a torch module."""
