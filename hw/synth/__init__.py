"""The pipeline's RTL through open synthesis: what a design takes, layer by layer, and how fast a clock it stands."""
