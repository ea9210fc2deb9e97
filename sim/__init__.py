"""Cycles and bytes over time."""
