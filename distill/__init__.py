"""Weights and pixels: networks, filters, losses, training, data."""
