"""A design held against a part: what is too much, by how much, and the clock that was routed."""

import pytest

from hw.devices import COUNTS, device, devices, fit
from hw.errors import BadInput
from hw.resources import Resources
from reports.candidate import part_fits


def design(lut=1000, ff=2000, dsp=20, bram18=10, family="xc7", source="synthesis", error=None):
    return Resources(lut, ff, dsp, bram18, "rtl", source, "yosys", error, "0.70", family)


def test_every_part_has_counts_and_a_source():
    table = devices()
    wanted = {"zynq-7020", "zu3eg", "artix-7-35t", "ecp5-45", "ecp5-85", "ice40-up5k"}
    assert wanted <= set(table)
    for name, part in table.items():
        assert part.name == name
        assert part.source
        assert all(getattr(part, key) > 0 for key in COUNTS)
        assert part.counts_of in ("xc7", "ecp5")
        assert (part.family == "ecp5") == bool(part.nextpnr)


def test_block_rams_are_counted_in_halves_of_36_kbit():
    """140 and 50 block RAMs of 36 kbit (DS190, DS180)."""
    assert (device("zynq-7020").bram18, device("artix-7-35t").bram18) == (280, 100)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("zynq-7021", "part zynq-7021: no such one; did you mean zynq-7020?"),
        ("virtex", f"part virtex: no such one; known are {', '.join(devices())}"),
    ],
)
def test_an_unknown_part_is_told_with_the_nearest_or_all(name, told):
    with pytest.raises(BadInput) as error:
        device(name)
    assert str(error.value) == told


def test_a_design_that_fits():
    found = fit(design(), device("artix-7-35t"), 100.0)
    assert found.fits
    assert found.short == {}
    assert str(found) == "artix-7-35t: fits (fullest are its DSPs, 22%; synthesis)"


def test_what_is_too_much_is_told_with_how_much():
    found = fit(design(lut=20801, dsp=100, source="estimate", error=0.08), device("artix-7-35t"), 100.0)
    assert not found.fits
    assert found.short == {"lut": 1, "dsp": 10}
    assert str(found) == (
        "artix-7-35t: does not fit (20,801 LUTs where it has 20,800 (1 too many); "
        "100 DSPs where it has 90 (10 too many); estimate, off by 8% on average where it was tested)"
    )


@pytest.mark.parametrize("key", COUNTS)
def test_a_part_that_is_exactly_full_fits_and_one_more_does_not(key):
    part = device("ecp5-45")
    full = {name: getattr(part, name) for name in COUNTS}
    assert fit(design(**full, family="ecp5"), part, 1.0).fits
    full[key] += 1
    assert fit(design(**full, family="ecp5"), part, 1.0).short == {key: 1}


def test_a_clock_that_was_not_reached_does_not_fit():
    small = design(family="ecp5")
    found = fit(small, device("ecp5-85"), 100.0, 80.5)
    assert not found.fits
    assert found.short == {}
    assert str(found) == ("ecp5-85: does not fit (80.5 MHz routed where the machine's clock is 100 MHz; synthesis)")
    assert fit(small, device("ecp5-85"), 80.5, 80.5).fits
    assert fit(small, device("ecp5-85"), 100.0).fits


def test_counts_of_one_family_are_not_held_against_another():
    with pytest.raises(BadInput) as error:
        fit(design(family="ecp5"), device("zynq-7020"), 100.0)
    assert str(error.value) == "part zynq-7020: counts for ecp5 were found, those for xc7 are wanted"


def test_a_candidate_has_verdicts_for_machines_that_are_parts():
    found = part_fits({"zynq-7020": design(), "pipeline-256": design()}, {"zynq-7020": 100.0, "pipeline-256": 200.0})
    assert {name: fitting.fits for name, fitting in found.items()} == {"zynq-7020": True}


def test_a_stand_in_is_told():
    found = fit(design(), device("zu3eg"), 100.0)
    assert str(found).endswith("synthesis; counted as xc7, the part is xcup)")
