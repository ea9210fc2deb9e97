"""Co-design sweeps: which student on which machine, out of a hundred thousand designs."""
