"""FPGA families that yosys maps to: its pass, and what its cells count as."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from hw.errors import BadInput, nearest


class Counts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Look-up tables, flip-flops, DSPs and block RAMs of 18 kbit."""

    lut: int = 0
    ff: int = 0
    dsp: int = 0
    bram18: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.lut + other.lut, self.ff + other.ff, self.dsp + other.dsp, self.bram18 + other.bram18)


@dataclass(frozen=True)
class Family:
    """`luts`, `dsps` and `brams` are cells by name with what one of them counts as; `ffs` matches flip-flops."""

    name: str
    script: str
    luts: Mapping[str, int]
    ffs: re.Pattern[str]
    dsps: Mapping[str, int]
    brams: Mapping[str, int]

    def counts(self, cells: Mapping[str, int]) -> Counts:
        """Cells by type as the four numbers; carry chains and wide multiplexers are part of a slice and not counted."""

        def total(weights: Mapping[str, int]) -> int:
            return sum(weights.get(cell, 0) * number for cell, number in cells.items())

        ffs = sum(number for cell, number in cells.items() if self.ffs.fullmatch(cell))
        return Counts(total(self.luts), ffs, total(self.dsps), total(self.brams))


_LUT_RAMS = {"RAM32M": 4, "RAM64M": 4, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1S": 4}
_LUT_RAMS |= {"RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM32X16DR8": 8}

FAMILIES = {
    family.name: family
    for family in (
        # A LUT RAM counts as the LUTs that it occupies (UG474), an inverter as one: nothing here merges it away.
        Family(
            "xc7",
            "synth_xilinx -family xc7 -flatten -noiopad -noclkbuf -top {top}",
            {**{f"LUT{k}": 1 for k in range(1, 7)}, "INV": 1, "SRL16E": 1, "SRLC32E": 1, **_LUT_RAMS},
            re.compile(r"FD[RSCP]E(_1)?"),
            {"DSP48E1": 1},
            {"RAMB18E1": 1, "RAMB36E1": 2},
        ),
        # A carry cell is made of two LUT4s; a 16x4 RAM takes three slices, one of them for its write port (TN1264).
        Family(
            "ecp5",
            "synth_ecp5 -top {top}",
            {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
            re.compile(r"TRELLIS_FF"),
            {"MULT18X18D": 1},
            {"DP16KD": 1},
        ),
    )
}


def family_named(name: str) -> Family:
    """A family by its name.

    Raises:
        BadInput: there is no such one.
    """
    if name not in FAMILIES:
        raise BadInput(f"family {name}: no such one{nearest(name, FAMILIES)}")
    return FAMILIES[name]
