"""FPGA parts, and whether a design fits into one."""

from importlib import resources as package

import msgspec

from hw.errors import BadInput, nearest
from hw.files import read_yaml
from hw.resources import Resources

COUNTS = ("lut", "ff", "dsp", "bram18")
NAMES = {"lut": "LUTs", "ff": "flip-flops", "dsp": "DSPs", "bram18": "block RAMs of 18 kbit"}


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a part has, from its data sheet. `counted_as` is the family whose counts stand in, "" where its own do.

    `nextpnr` is the size by which nextpnr-ecp5 knows it.
    """

    family: str
    lut: int
    ff: int
    dsp: int
    bram18: int
    source: str
    counted_as: str = ""
    nextpnr: str = ""
    name: str = ""

    @property
    def counts_of(self) -> str:
        """The family whose counts are held against this part."""
        return self.counted_as or self.family


class Fit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a design fits into a part: what it takes and what there is, by name.

    `fmax_mhz` is None where nobody has routed the design; then its clock is not part of the answer.
    """

    part: str
    fits: bool
    taken: dict[str, int]
    there: dict[str, int]
    clock_mhz: float
    fmax_mhz: float | None
    source: str
    note: str

    @property
    def short(self) -> dict[str, int]:
        """By how much each number is exceeded, where one is."""
        return {key: self.taken[key] - self.there[key] for key in COUNTS if self.taken[key] > self.there[key]}

    def __str__(self) -> str:
        reasons = [
            f"{self.taken[key]:,} {NAMES[key]} where it has {self.there[key]:,} ({over:,} too many)"
            for key, over in self.short.items()
        ]
        if self.fmax_mhz is not None and self.fmax_mhz < self.clock_mhz:
            reasons.append(f"{self.fmax_mhz:g} MHz routed where the machine's clock is {self.clock_mhz:g} MHz")
        fullest = max(COUNTS, key=lambda key: self.taken[key] / self.there[key])
        share = self.taken[fullest] / self.there[fullest]
        verdict = "; ".join(reasons) if reasons else f"fullest are its {NAMES[fullest]}, {share:.0%}"
        return f"{self.part}: {'fits' if self.fits else 'does not fit'} ({verdict}; {self.source}{self.note})"


def devices() -> dict[str, Device]:
    """All parts by name."""
    with package.as_file(package.files("hw") / "devices.yaml") as path:
        table = read_yaml(path, dict[str, Device])
    return {name: msgspec.structs.replace(device, name=name) for name, device in table.items()}


def device(name: str) -> Device:
    """A part by its name.

    Raises:
        BadInput: there is no such one.
    """
    table = devices()
    if name not in table:
        raise BadInput(f"part {name}: no such one{nearest(name, table)}")
    return table[name]


def fit(resources: Resources, part: Device, clock_mhz: float, fmax_mhz: float | None = None) -> Fit:
    """Hold a design against a part; a measured `fmax_mhz` below the machine's clock does not fit either.

    Raises:
        BadInput: the design was not counted for the part's family, nor for the one that stands in.
    """
    if resources.family != part.counts_of:
        raise BadInput(
            f"part {part.name}: counts for {resources.family} were found, those for {part.counts_of} are wanted"
        )
    there = {key: getattr(part, key) for key in COUNTS}
    taken = resources.counts
    fits = all(taken[key] <= there[key] for key in COUNTS) and (fmax_mhz is None or fmax_mhz >= clock_mhz)
    error = "" if resources.error is None else f", off by {resources.error:.0%} on average where it was tested"
    note = f"; counted as {part.counted_as}, the part is {part.family}" if part.counted_as else ""
    return Fit(part.name, fits, taken, there, clock_mhz, fmax_mhz, f"{resources.source}{error}", note)
