"""What a report says in sentences: a verdict and findings, without a claim that its figures do not make."""

from collections.abc import Sequence

from reports.candidate import Candidate, Report
from reports.columns import MachineColumns
from reports.words import accuracy, change, number, points


def _change_of(gain: float) -> str:
    """A student beside the undistilled one, in words and points."""
    told = points(gain)
    return "level with it" if told == "0.0" else f"{'above' if gain > 0 else 'below'} it ({told})"


def verdict(report: Report, teacher: Candidate | None, student: Candidate | None, machine: str) -> str:
    """The first sentence of a page: the student that was chosen beside its teacher, on one machine."""
    if student is None:
        return f"The run chose {report.chosen.student}, which is not among its candidates."
    text = f"The best 1×N student by validation, {student.name}, reaches {accuracy(student.test)} % on the test images"
    if teacher is None:
        return text + "."
    text += f", its teacher {accuracy(teacher.test)} %"
    if machine not in teacher.results or machine not in student.results:
        return text + "."
    old, new = teacher.results[machine], student.results[machine]
    return (
        f"{text}; on {machine} it keeps {number(new.line_buffer_bytes)} bytes in line buffers where the teacher keeps "
        f"{number(old.line_buffer_bytes)}, and answers after {number(new.latency_cycles)} cycles instead of "
        f"{number(old.latency_cycles)} ({change(old.latency_cycles, new.latency_cycles)})."
    )


def findings(
    report: Report, teacher: Candidate | None, student: Candidate | None, machines: Sequence[MachineColumns]
) -> list[str]:
    """What else is worth a sentence: distillation, further machines, bits, the HLS comparison."""
    found = [_about_distillation(report)]
    if teacher and student:
        found += [_about_machine(teacher, student, entry.name) for entry in machines[1:]]
    found += [_about_bits(entry) for entry in report.candidates if entry.role == "quantised student"]
    return [text for text in (*found, compared(report) + ".") if text]


def _about_distillation(report: Report) -> str:
    """What each student's teachers changed against labels alone, without a claim."""
    plain = undistilled(report)
    others = [entry for entry in students_of(report) if entry is not plain]
    if plain is None or not others:
        return ""
    roles = {entry.name: entry.role for entry in report.candidates}
    told = []
    for entry in others:
        by_teacher = all(roles.get(name) == "teacher" for name in entry.learns_from)
        kind = "by plain distillation" if by_teacher else "with a pacemaker"
        validation, test = entry.validation.mean - plain.validation.mean, entry.test.mean - plain.test.mean
        told.append(f"{entry.name}, {kind}, ends {_change_of(validation)} on validation and {_change_of(test)} on test")
    count = len(report.seeds)
    caution = f"{count} seed{'s' * (count != 1)} these are directions, not results"
    return f"Against the undistilled student {plain.name}, in percentage points: {'; '.join(told)}. With {caution}."


def _about_machine(teacher: Candidate, student: Candidate, machine: str) -> str:
    if machine not in teacher.results or machine not in student.results:
        return ""
    old, new = teacher.results[machine], student.results[machine]
    text = (
        f"On {machine} the student takes {number(new.latency_cycles)} cycles, the teacher {number(old.latency_cycles)} "
        f"({change(old.latency_cycles, new.latency_cycles)})"
    )
    if old.dram_bytes and new.dram_bytes:
        before, after = sum(old.dram_bytes.values()), sum(new.dram_bytes.values())
        text += f"; DRAM traffic is {number(after)} against {number(before)} bytes a frame ({change(before, after)})"
    return text + "."


def _about_bits(entry: Candidate) -> str:
    return (
        f"As {entry.bits}-bit integers ({entry.name}) the student reaches {accuracy(entry.test)} % on the test images."
    )


def compared(report: Report) -> str:
    """What the HLS C simulation said, or why it said nothing."""
    if report.hls is not None:
        return f"HLS: {report.hls}"
    return f"HLS was not compared: {report.hls_missing}" if report.hls_missing else "HLS was not compared"


def students_of(report: Report) -> list[Candidate]:
    """All students that are not quantised."""
    return [entry for entry in report.candidates if entry.role == "student"]


def undistilled(report: Report) -> Candidate | None:
    """The student that learns from labels alone, if there is one."""
    return next((entry for entry in students_of(report) if not entry.learns_from), None)
