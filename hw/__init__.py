"""Shapes, bits and machines, and what they become: HLS, RTL, LUTs. The ground floor."""
