"""The machines of a report, and the columns that each has in a table."""

from dataclasses import dataclass

from reports.candidate import Report

MACHINE_COLUMNS = (
    ("latency", "cycles"),
    ("latency", "time"),
    ("interval", "cycles"),
    ("line buffers", "bytes"),
    ("windows", "bytes"),
    ("FIFOs", "bytes"),
    ("all pixels", "bytes"),
    ("weights", "bytes"),
)
ENGINE_COLUMNS = (*MACHINE_COLUMNS, ("DRAM a frame", "bytes"))
RESOURCE_COLUMNS = ("LUT", "FF", "DSP", "BRAM18", "source")


@dataclass(frozen=True)
class MachineColumns:
    """A machine's columns in the table of candidates."""

    name: str
    is_pipeline: bool
    has_resources: bool

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Heads and units."""
        return MACHINE_COLUMNS if self.is_pipeline else ENGINE_COLUMNS

    @property
    def span(self) -> int:
        """How many columns, with those of resources."""
        return len(self.columns) + self.has_resources * len(RESOURCE_COLUMNS)


def machines_of(report: Report) -> tuple[MachineColumns, ...]:
    """All machines of a report: pipelines first, then engines, then those that nothing fits, each by name.

    A line engine is known by its causes of cycles, which a pipeline has not.
    """
    names = sorted({name for entry in report.candidates for name in (*entry.results, *entry.unfit)})
    found = []
    for name in names:
        results = [entry.results[name] for entry in report.candidates if name in entry.results]
        is_pipeline = bool(results) and not any(result.cycles_by_cause for result in results)
        has_resources = any(name in entry.resources for entry in report.candidates)
        found.append((not is_pipeline, not results, MachineColumns(name, is_pipeline, has_resources)))
    return tuple(machine for *_, machine in sorted(found, key=lambda item: item[:2]))
