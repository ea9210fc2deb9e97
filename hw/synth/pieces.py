"""The pieces that engines share, ROMs, rings, windows, roundings, products, counted in features of `Parts`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hw.synth.mapping import memory, multipliers

Parameters = Mapping[str, int | str]
WIDE_ROM = 250
"""Columns from which a ROM in logic is wide."""


@dataclass
class Parts:
    """`lut`, `dsp`, `bram18`: exact by rule. `luts` and `ffs`: features by name. `kind` picks the coefficients.

    Of the block RAMs `weight_bram18` hold weights and biases, `line_bram18` rows of pixels or sums.
    """

    kind: str
    lut: int = 0
    dsp: int = 0
    weight_bram18: int = 0
    line_bram18: int = 0
    luts: dict[str, float] = field(default_factory=dict)
    ffs: dict[str, float] = field(default_factory=dict)

    @property
    def bram18(self) -> int:
        """All block RAMs."""
        return self.weight_bram18 + self.line_bram18

    def add(self, name: str, lut: float = 0, ff: float = 0) -> None:
        """More of a feature."""
        for features, value in ((self.luts, lut), (self.ffs, ff)):
            features[name] = features.get(name, 0.0) + value


def bits_of(count: int) -> int:
    """Bits of a number below `count`, as $clog2; at least 1."""
    return max(1, (count - 1).bit_length())


def constant(text: int | str) -> int:
    """The number of a parameter that is one, or a Verilog constant such as `8'h1f`."""
    return text if isinstance(text, int) else int(text.partition("'h")[2], 16)


def _distinct(words: int, width: int) -> float:
    """Columns of a random memory that differ: equal ones are merged, and of so few words there are few."""
    patterns = 2.0 ** min(words, 60)
    return patterns * (1 - (1 - 1 / patterns) ** width) if words < 30 else width


def rom(found: Parts, family: str, words: int, width: int, register: str) -> None:
    """A ROM read into a register: in block RAM, or as logic, LUTs by its words for each column that differs."""
    made = memory(family, words, width, rom=True, synchronous=True)
    found.weight_bram18 += made.bram18
    if made.bram18:
        found.add(f"{register}_block", ff=width)
    elif words > 1:
        columns = _distinct(words, width)
        luts = columns if words > 2 else 0
        wide = "_wide" if columns > WIDE_ROM else ""  # whose columns share more of their decoding
        found.add("rom", lut=luts)
        found.add(f"rom_words{wide}", lut=luts * words / 12)
        found.add(register, ff=columns)


def requantise(found: Parts, count: int, in_bits: int, p: Mapping[str, int], shift: int) -> None:
    """`count` accumulators of `in_bits` rounded by `shift`, clipped and registered."""
    kept = in_bits - (shift if 0 < shift < in_bits else 0) + max(-shift, 0)
    found.add("rounding", lut=count * kept if shift > 0 else 0)
    found.add("clipping", lut=count * p["OUT_BITS"])
    found.add("clip_tests", lut=count * max(0, kept - p["OUT_BITS"]))
    found.add("result", ff=count * p["OUT_BITS"])


def add_sum(found: Parts, name: str, terms: int, bits: int, count: int) -> None:
    """A sum of so many numbers: two cost a LUT a bit, every one more a row of full adders."""
    if terms > 1:
        found.add(name, lut=count * bits)
        found.add(f"more_{name}", lut=count * bits * (terms - 2))


def moved(size: int, address: int) -> int:
    """LUTs of a step in a ring: an adder, and a second one where its size is no power of two."""
    return address if size & (size - 1) == 0 else 2 * address


def window(found: Parts, p: Mapping[str, int], index: int, size: int, words: int) -> None:
    """The walk over the outputs; `size` is that of the ring in words, 0 where nobody asks for places in it."""
    several = p["OUT_ROWS"] * p["OUT_COLS"] > 1
    guarded = p.get("TOP", 0) > 0 or p.get("LEFT", 0) > 0
    found.add("window", lut=1, ff=1)
    found.add("index", lut=index, ff=index)
    found.add("walk", lut=index if several else 0, ff=index if several else 0)
    found.add("guard", lut=index if guarded else 0, ff=index if guarded else 0)
    if size:
        address = bits_of(size)
        found.add("place", lut=moved(size, address), ff=address)
        found.add("later", ff=p["LATENCY"] * (address + 2))
    counted = bits_of(words) if words > 1 else 0
    found.add("counters", lut=counted, ff=counted)


def padded(p: Mapping[str, int]) -> bool:
    """Whether a window looks over the map's edge."""
    bottom = (p["OUT_ROWS"] - 1) * p["STRIDE_ROWS"] - p["TOP"] + p["KERNEL_ROWS"] > p["ROWS"]
    right = (p["OUT_COLS"] - 1) * p["STRIDE_COLS"] - p["LEFT"] + p["KERNEL_COLS"] > p["COLS"]
    return p["TOP"] > 0 or p["LEFT"] > 0 or bottom or right


def ring(
    found: Parts, p: Mapping[str, int], family: str, words: int, width: int, ports: int, index: int, turns: int
) -> None:
    """A window's ring of `words` a pixel, of `width` bits, read at `ports` places."""
    size = p["CAPACITY"] * words
    address = bits_of(size)
    made = memory(family, size, width, rom=False, synchronous=True)
    found.line_bram18 += ports * made.bram18
    found.lut += ports * made.lut
    # What block RAM reads is registered in it; what a LUT RAM reads, beside it.
    found.add("ring_data", ff=ports * width)
    found.add("ring_seen", ff=0 if made.bram18 else ports * width)
    found.add("ring_mux", lut=ports * width * (made.deep - 1))
    found.add("ring_logic", lut=ports * made.logic_bits, ff=ports * made.logic_bits)
    found.add("port_place", lut=ports * moved(size, address), ff=ports * address)
    if turns > 1 and p["KERNEL_COLS"] > 1:
        found.add("port_turns", lut=ports * address, ff=ports)
    if padded(p):
        found.add("port_index", lut=ports * index, ff=ports * index)


def index_bits(p: Mapping[str, int]) -> int:
    """Bits of a pixel's index, with room for what is read ahead and two to compare by."""
    rows = p["ROWS"] + p["KERNEL_ROWS"] + p["STRIDE_ROWS"]
    cols = p["COLS"] + p["KERNEL_COLS"] + p["STRIDE_COLS"]
    return bits_of(rows * cols + p["CAPACITY"]) + 2


def products(found: Parts, p: Mapping[str, int], family: str, count: int, words: int) -> int:
    """Multipliers of activations and weights, of which an engine has so many words; the bits of a product."""
    full = p["IN_BITS"] + 1 + p["WEIGHT_BITS"]
    product = min(full, p["SUM_BITS"])
    a = p["IN_BITS"] + (1 if not p["IN_SIGNED"] else 0)
    each = multipliers(family, a, p["WEIGHT_BITS"], min(product, a + p["WEIGHT_BITS"]))
    found.dsp += count * each
    if family == "ecp5":  # whose products are registered beside the DSP
        found.add("products", ff=count * product)
    if not each:
        kind = "soft_products" if words > 1 else "constant_products"
        found.add(kind, lut=count * p["IN_BITS"] * p["WEIGHT_BITS"], ff=count * product)
    return product
