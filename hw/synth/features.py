"""What an engine is made of, counted from its parameters: the quantities that its LUTs and flip-flops are fitted on.

`parts` answers for one module of `hw/rtl`. Block RAMs, DSPs and LUTs as RAM follow from rules (`hw.synth.mapping`); the
rest of the LUTs, and the flip-flops, are sums of the features times coefficients found by least squares.
"""

from collections.abc import Mapping

from hw.synth import pieces
from hw.synth.mapping import memory, multipliers
from hw.synth.pieces import Parameters as Parameters
from hw.synth.pieces import Parts as Parts


def parts(module: str, parameters: Parameters, family: str) -> Parts:
    """The parts of a module of `hw/rtl` with these parameters."""
    p = {key: value for key, value in parameters.items() if isinstance(value, int)}
    if module == "pm_conv":
        return _conv(p, family)
    if module == "pm_depthwise":
        return _depthwise(p, family)
    if module == "pm_affine":
        return _affine(p, family)
    if module == "pm_join":
        return _join(p, parameters, family)
    if module == "pm_mean":
        return _mean(p, parameters, family)
    if module == "pm_pool":
        return _pool(p, parameters, family)
    if module == "pm_table":
        return _table(p, family)
    if module == "pm_upsample":
        return _upsample(p, family)
    return _fifo(p, family)


def _conv(p: Mapping[str, int], family: str) -> Parts:
    found = Parts("conv")
    word = min(p["SIMD"], p["CHANNELS"])
    ports, words = p["SIMD"] // word, p["CHANNELS"] // word
    taps = p["KERNEL_ROWS"] * p["KERNEL_COLS"]
    groups = p["OUT_CHANNELS"] // p["PE"]
    turns = taps // ports
    ii = turns * words * groups
    index = pieces.index_bits(p)
    pieces.window(found, p, index, p["CAPACITY"] * words, words)
    pieces.ring(found, p, family, words, word * p["IN_BITS"], ports, index, turns)
    counters = sum(pieces.bits_of(n) for n in (ii, groups, turns, words) if n > 1)
    found.add("counters", lut=counters, ff=counters)
    found.add("group_delay", ff=3 * pieces.bits_of(groups) if groups > 1 else 0)
    width = p["PE"] * p["SIMD"] * p["WEIGHT_BITS"]
    pieces.rom(found, family, ii, width, "weights")
    pieces.rom(found, family, groups, p["PE"] * p["SUM_BITS"], "biases")
    product = pieces.products(found, p, family, p["PE"] * p["SIMD"], ii)
    _reduced(found, p, family, product)
    pieces.requantise(found, p["PE"], p["SUM_BITS"], p, p["SHIFT"])
    return found


def _depthwise(p: Mapping[str, int], family: str) -> Parts:
    """With the coefficients of a conv, whose parts it has; how far off that is, docs/decisions/0012 tells."""
    found = Parts("conv")
    words, simd = p["CHANNELS"] // p["PE"], p["SIMD"]
    turns = p["KERNEL_ROWS"] * p["KERNEL_COLS"] // simd
    index, ii = pieces.index_bits(p), turns * words
    pieces.window(found, p, index, p["CAPACITY"] * words, words)
    pieces.ring(found, p, family, words, p["PE"] * p["IN_BITS"], simd, index, turns)
    counters = sum(pieces.bits_of(n) for n in (ii, words, turns) if n > 1)
    found.add("counters", lut=counters, ff=counters)
    found.add("group_delay", ff=3 * pieces.bits_of(words) if words > 1 else 0)
    pieces.rom(found, family, ii, p["PE"] * simd * p["WEIGHT_BITS"], "weights")
    pieces.rom(found, family, words, p["PE"] * p["SUM_BITS"], "biases")
    product = pieces.products(found, p, family, p["PE"] * simd, ii)
    _reduced(found, p, family, product)
    pieces.requantise(found, p["PE"], p["SUM_BITS"], p, p["SHIFT"])
    return found


def _reduced(found: Parts, p: Mapping[str, int], family: str, product: int) -> None:
    radix, simd, pe = p.get("RADIX", 1), p["SIMD"], p["PE"]
    terms = -(-simd // radix)
    part = min(product + pieces.bits_of(radix) if radix > 1 else product, p["SUM_BITS"])
    if not (found.dsp and family == "xc7"):  # whose DSPs add and hold the partial sums
        for g in range(terms):
            pieces.add_sum(found, "partial", min(radix, simd - g * radix), part, pe)
        found.add("parts", ff=pe * terms * part)
    pieces.add_sum(found, "total", terms + 1, p["SUM_BITS"], pe)
    found.add("sum", ff=pe * p["SUM_BITS"])


def _affine(p: Mapping[str, int], family: str) -> Parts:
    found = Parts("affine")
    ii, pe = p["CHANNELS"] // p["PE"], p["PE"]
    steps = pieces.bits_of(ii) if ii > 1 else 0
    found.add("one", lut=1, ff=1)
    found.add("steps", lut=steps, ff=steps)
    found.add("later", ff=p["LATENCY"] * (steps + 1))
    pieces.rom(found, family, ii, pe * p["WEIGHT_BITS"], "weights")
    pieces.rom(found, family, ii, pe * p["SUM_BITS"], "biases")
    product = pieces.products(found, p, family, pe, ii)
    found.add("product", ff=pe * product)
    found.add("value", ff=pe * p["IN_BITS"])
    found.add("sum", lut=pe * p["SUM_BITS"], ff=pe * p["SUM_BITS"])
    pieces.requantise(found, pe, p["SUM_BITS"], p, p["SHIFT"])
    return found


def _join(p: Mapping[str, int], parameters: Parameters, family: str) -> Parts:
    add = bool(p["ADD"])
    found = Parts("add" if add else "concat")
    ii, pe, inputs = p["CHANNELS"] // p["PE"], p["PE"], p["INPUTS"]
    steps = pieces.bits_of(ii) if ii > 1 else 0
    waits = pieces.constant(parameters["LATENCY"])
    found.add("one", lut=1 if steps else 0, ff=1)
    found.add("steps", lut=steps, ff=steps)
    found.add("later", ff=1 if waits else 0)
    waiting = inputs - bin(waits).count("1") if waits else 0
    found.add("waiting", ff=waiting * pe * p["IN_BITS"])
    if add:
        pieces.add_sum(found, "total", inputs, p["SUM_BITS"], pe)
        found.add("sum", ff=pe * p["SUM_BITS"])
    else:
        pieces.add_sum(found, "total", inputs, p["SUM_BITS"], pe)
        found.add("choice", lut=pe * p["IN_BITS"] * inputs)
    pieces.requantise(found, pe, p["SUM_BITS"], p, p["SHIFT"])
    return found


def _table(p: Mapping[str, int], family: str) -> Parts:
    """A ROM a PE, which is read into a register."""
    found = Parts("table")
    ii, pe, words = p["CHANNELS"] // p["PE"], p["PE"], 1 << p["IN_BITS"]
    steps = pieces.bits_of(ii) if ii > 1 else 0
    found.add("one", lut=1 if steps else 0, ff=1)
    found.add("steps", lut=steps, ff=steps)
    found.add("later", ff=p["LATENCY"])
    made = memory(family, words, p["OUT_BITS"], rom=True, synchronous=True)
    found.weight_bram18 += pe * made.bram18
    # Block RAM takes in both registers.
    found.add("value", ff=pe * p["IN_BITS"])
    if made.bram18:
        found.add("result_block", ff=pe * p["OUT_BITS"])
    else:
        found.add("rom", lut=pe * p["OUT_BITS"])
        found.add("rom_words", lut=pe * p["OUT_BITS"] * words / 12)
        found.add("result", ff=pe * p["OUT_BITS"])
    return found


def _upsample(p: Mapping[str, int], family: str) -> Parts:
    """A ring of a row or a few pixels, and counters of repeats."""
    found = Parts("upsample")
    ii, pe = p["CHANNELS"] // p["PE"], p["PE"]
    index = (p["COLS"] + p["CAPACITY"]).bit_length() + 2
    found.add("window", lut=1, ff=1)
    found.add("index", lut=index, ff=index)
    address = pieces.bits_of(p["CAPACITY"] * ii)
    found.add("place", lut=pieces.moved(p["CAPACITY"] * ii, address), ff=address)
    found.add("later", ff=p["LATENCY"] * (address + 2))
    counted = sum(pieces.bits_of(n) for n in (ii, ii, p["COLS"], p["FACTOR_ROWS"], p["FACTOR_COLS"]) if n > 1)
    found.add("counters", lut=counted, ff=counted)
    none = {"STRIDE_ROWS": 1, "STRIDE_COLS": 1, "KERNEL_ROWS": 1, "KERNEL_COLS": 1, "TOP": 0, "LEFT": 0}
    whole = {**p, **none, "OUT_ROWS": p["ROWS"], "OUT_COLS": p["COLS"]}
    pieces.ring(found, whole, family, ii, pe * p["IN_BITS"], 1, index, 1)
    pieces.requantise(found, pe, p["IN_BITS"] + 1, p, p["SHIFT"])
    return found


def _division(found: Parts, p: Mapping[str, int], parameters: Parameters, family: str) -> None:
    """A product by a constant: a shift where that is a power of two."""
    pe, multiplier = p["PE"], pieces.constant(parameters["MULTIPLIER"])
    odd = multiplier // (multiplier & -multiplier)
    if odd > 1:
        each = multipliers(family, p["SUM_BITS"], odd.bit_length() + 1, p["WORK_BITS"])
        found.dsp += pe * each
        # One DSP of xc7 holds its product itself.
        found.add("product", ff=0 if each == 1 and family == "xc7" else pe * p["WORK_BITS"])
    else:
        found.add("shifted", ff=pe * p["SUM_BITS"])
    kept = max(1, p["WORK_BITS"] - p["DROP"])
    # Behind a DSP its own adder does it.
    found.add("offset", lut=0 if odd > 1 and family == "xc7" else pe * (p["WORK_BITS"] if odd > 1 else kept))
    found.add("clipping", lut=pe * p["OUT_BITS"])
    found.add("clip_tests", lut=pe * max(0, kept - p["OUT_BITS"]))
    found.add("result", ff=pe * p["OUT_BITS"])


def _mean(p: Mapping[str, int], parameters: Parameters, family: str) -> Parts:
    found = Parts("mean")
    ii, pe = p["CHANNELS"] // p["PE"], p["PE"]
    sums = p["OUT_COLS"] if p["KERNEL_ROWS"] > 1 else 1
    size = sums * ii
    index = pieces.bits_of(2 * (p["ROWS"] + p["KERNEL_ROWS"]) * (p["COLS"] + p["KERNEL_COLS"])) + 2
    pieces.window(found, p, index, 0, ii)
    pixel = pieces.bits_of(p["ROWS"] * p["COLS"] + 1)
    address = pieces.bits_of(size) if size > 1 else 0
    found.add("pixel", lut=pixel, ff=pixel)
    found.add("tap_rows", lut=pixel if p["KERNEL_ROWS"] > 1 else 0, ff=pixel if p["KERNEL_ROWS"] > 1 else 0)
    found.add("places", lut=address, ff=address)
    made = memory(family, size, pe * p["SUM_BITS"], rom=False, synchronous=True, reads=2)
    found.lut += made.lut
    found.line_bram18 += made.bram18
    found.add("sums_logic", lut=made.logic_bits, ff=made.logic_bits)
    found.add("sums_mux", lut=2 * pe * p["SUM_BITS"] * (made.deep - 1))
    found.add("sum", lut=pe * p["SUM_BITS"], ff=pe * p["SUM_BITS"])
    found.add("value", ff=pe * p["IN_BITS"])
    _division(found, p, parameters, family)
    return found


def _pool(p: Mapping[str, int], parameters: Parameters, family: str) -> Parts:
    mean = bool(p["MEAN"])
    found = Parts("pool_mean" if mean else "max")
    taps, pe = p["KERNEL_ROWS"] * p["KERNEL_COLS"], p["PE"]
    ii = p["CHANNELS"] // pe
    index = pieces.index_bits(p)
    pieces.window(found, p, index, p["CAPACITY"] * ii, ii)
    pieces.ring(found, p, family, ii, pe * p["IN_BITS"], taps, index, 1)
    radix = p["RADIX"]
    terms = -(-taps // radix)
    bits = p["SUM_BITS"] if mean else p["IN_BITS"] + 1
    for g in range(terms):
        pieces.add_sum(found, "partial", min(radix, taps - g * radix), bits, pe)
    pieces.add_sum(found, "total", terms, bits, pe)
    found.add("parts", ff=pe * terms * bits)
    if mean:
        _division(found, p, parameters, family)
    # The DSP of a division takes in the register before it, and the one behind.
    found.add("sum", ff=0 if found.dsp and family == "xc7" else pe * bits)
    if not mean:
        pieces.requantise(found, pe, p["IN_BITS"] + 1, p, p["SHIFT"])
    return found


def _fifo(p: Mapping[str, int], family: str) -> Parts:
    found = Parts("fifo")
    write, read, channels, depth = p["WRITE"], p["READ"], p["CHANNELS"], p["DEPTH"]
    wide = write if write % read == 0 else read if read % write == 0 else channels
    words, gather, spread = depth * (channels // wide), wide // write, wide // read
    counts = depth.bit_length()
    found.add("one", lut=1, ff=1)
    found.add("counts", lut=counts, ff=counts)
    found.add("single", lut=1 if depth == 1 else 0, ff=1 if depth == 1 else 0)
    address = pieces.bits_of(words) if words > 1 else 0
    found.add("address", lut=address, ff=address)
    found.add("wrap", lut=address if words & (words - 1) else 0)
    width = wide * p["BITS"]
    # Its read address is a register either way, which block RAM takes in.
    made = memory(family, words, width, rom=False, synchronous=True)
    found.lut += made.lut
    found.line_bram18 += made.bram18
    found.add("logic", ff=made.logic_bits)
    found.add("logic_mux", lut=made.logic_bits if words > 1 else 0)
    found.add("mux", lut=width * (made.deep - 1))
    found.add("seen", ff=width if p["LATENCY"] and not made.bram18 else 0)
    if made.bram18 and (family == "ecp5" or not p["LATENCY"]):  # a word read as it is written passes by block RAM
        found.add("bypass", lut=width, ff=width)
    if gather > 1:
        found.add("gather", lut=pieces.bits_of(gather), ff=pieces.bits_of(gather))
        found.add("held", ff=(gather - 1) * write * p["BITS"])
    if spread > 1:
        found.add("spread_steps", lut=pieces.bits_of(spread), ff=pieces.bits_of(spread))
        found.add("spread", lut=read * p["BITS"] * max(1, (spread - 1) / 3))
    return found
