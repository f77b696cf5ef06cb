"""Counts the operations of any torch program; knows torch, knows nothing of speech."""
