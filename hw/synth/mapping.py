"""What yosys makes of a memory and of a multiplication, by its own rules, so that block RAMs and DSPs are not guessed.

A memory goes where it costs least: `cost` a cell, of which `width_cost` only for the share of its width that is used,
half a point for every multiplexer bit between cells and for every decoded write enable, and what logic costs a bit.
Rules and figures are those of `memory_libmap` and `mul2dsp` in yosys 0.60 to 0.70 (its libraries `brams_xc4v`,
`lutrams_xc5v`, `brams_16kd`, `lutrams_trellis`).
"""

from typing import NamedTuple

MUX_COST = 0.5
EMULATION_COST = 2.0


class Cell(NamedTuple):
    """A memory cell in one of its shapes: `words` of `width` bits; written by groups of `byte` bits."""

    words: int
    width: int
    cost: float
    width_cost: float
    byte: int
    lut: int
    bram18: int
    ports: int = 1


class Memory(NamedTuple):
    """What a memory takes: LUTs as RAM, block RAMs of 18 kbit, or bits in logic; `deep` cells behind each other."""

    lut: int
    bram18: int
    logic_bits: int
    deep: int


class Rules(NamedTuple):
    """Memory cells of a family and what a bit costs in logic."""

    block: tuple[Cell, ...]
    distributed: tuple[Cell, ...]
    rom_bit_cost: float
    ram_bit_cost: float = 1.0


def _block(kilobits: int, widths: tuple[int, ...], cost: float, bram18: int) -> list[Cell]:
    words = {1: 1, 2: 2, 4: 4, 9: 8, 18: 16, 36: 32, 72: 64}
    return [Cell(kilobits * 1024 // words[width], width, cost, 0.0, 9, 0, bram18) for width in widths]


RULES = {
    "xc7": Rules(
        (
            *_block(16, (1, 2, 4, 9, 18, 36), 129, 1),
            *_block(32, (1, 2, 4, 9, 18, 36, 72), 257, 2),
            *_block(64, (1, 2, 4, 9), 513, 4),
        ),
        (Cell(32, 6, 8, 7, 0, 4, 0), Cell(64, 3, 8, 7, 0, 4, 0)),
        1 / 64,
    ),
    "ecp5": Rules(
        tuple(_block(16, (1, 2, 4, 9, 18, 36), 128, 1)),
        (Cell(16, 4, 4, 0, 0, 6, 0),),
        1 / 16,
    ),
}


def memory(family: str, words: int, width: int, *, rom: bool, synchronous: bool, reads: int = 1) -> Memory:
    """What a memory of so many words and bits takes; `reads` ports beside a write port where it is no ROM.

    Only one that is read into a register can be in block RAM; a ROM is never in LUT RAM.
    """
    rules = RULES[family]
    bits = words * width
    best_cost = bits * (rules.rom_bit_cost if rom else rules.ram_bit_cost)
    best = Memory(0, 0, bits, 1)
    if words < 2:
        return best
    for cell in (*(rules.block if synchronous else ()), *(() if rom else rules.distributed)):
        cost, found = _priced(cell, words, width, rom, reads)
        if cost < best_cost:
            best_cost, best = cost, found
    return best


def _priced(cell: Cell, words: int, width: int, rom: bool, reads: int) -> tuple[float, Memory]:
    deep = -(-words // cell.words)
    group = 1 if rom else min(cell.byte or cell.width, cell.width)
    padded = -(-width // group) * group
    number = -(-deep * padded // cell.width) * reads
    cost = (cell.cost - cell.width_cost) * number + cell.width_cost * deep * width / cell.width * reads
    cost += MUX_COST * (deep - 1) * width * reads + EMULATION_COST * reads
    if deep > 1 and not rom:
        cost += MUX_COST * deep
    return cost, Memory(cell.lut * number, cell.bram18 * number, 0, deep)


def multipliers(family: str, a_bits: int, b_bits: int, out_bits: int) -> int:
    """DSPs of a signed product of `a_bits` x `b_bits`, `out_bits` of it wanted; 0 where logic is taken.

    On xc7 a product of less than 9 bits is made of logic, and factors of more than 25 x 18 bits are cut into slices of
    17; on ECP5 of more than 18 x 18 into slices of 18.
    """
    a, b = max(a_bits, b_bits), min(a_bits, b_bits)
    if b < 2 or (family == "xc7" and out_bits < 9):
        return 0
    if family == "xc7":
        return _slices(a, 25, 17) * _slices(b, 18, 17)
    return _slices(a, 18, 18) * _slices(b, 18, 18)


def _slices(bits: int, most: int, step: int) -> int:
    return 1 if bits <= most else 1 + -(-(bits - most) // step)
