"""The pipeline in SystemVerilog, and the writer of a network's top level with its weights."""

from hw.rtl.write import Design, write

__all__ = ["Design", "write"]
