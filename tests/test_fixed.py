"""Rounding and saturation against exact fractions: floor(x 2^f + 1/2), then clipped to the format's bits."""

from fractions import Fraction
from math import floor, inf

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hw.errors import BadInput
from hw.fixed import Format, LayerFormats, accumulator_width, dequantise, divide, finer, quantise, requantise

FORMATS = st.builds(Format, st.integers(1, 16), st.integers(-12, 20), st.booleans())
INTEGERS = st.integers(-(2**20), 2**20)
checked = settings(derandomize=True, max_examples=400, deadline=None)


def exactly(value, fmt):
    """The integer of an exact value, or of an infinite one."""
    top = 2 ** (fmt.width - 1) - 1 if fmt.signed else 2**fmt.width - 1
    bottom = -(2 ** (fmt.width - 1)) if fmt.signed else 0
    if value in (inf, -inf):
        return top if value > 0 else bottom
    return min(max(floor(Fraction(value) * Fraction(2) ** (fmt.width - fmt.integer) + Fraction(1, 2)), bottom), top)


def one(value, dtype=np.int64):
    return np.array([value], dtype)


@checked
@given(st.floats(allow_nan=False, width=64, min_value=-1e30, max_value=1e30) | st.sampled_from([inf, -inf]), FORMATS)
def test_quantise_rounds_half_up_and_saturates(value, fmt):
    assert quantise(one(value, np.float64), fmt)[0] == exactly(value, fmt)


@checked
@given(st.integers(-600, 600), st.integers(0, 9), FORMATS)
def test_quantise_rounds_every_half_up(eighths, exponent, fmt):
    value = eighths / 8 * 2.0**-exponent
    assert quantise(one(value, np.float64), fmt)[0] == exactly(value, fmt)


@pytest.mark.parametrize(
    ("value", "integer"),
    [
        (0.5, 1),
        (-0.5, 0),
        (1.5, 2),
        (-1.5, -1),
        (2.5, 3),
        (0.49999999999999994, 0),
        (-0.50000001, -1),
        (2.0**52 + 1, 127),
    ],
)
def test_quantise_of_whole_numbers_by_hand(value, integer):
    assert quantise(one(value, np.float64), Format(8, 8)).tolist() == [integer]


def test_quantise_keeps_odd_integers_above_2_to_the_52():
    assert quantise(one(2.0**52 + 1, np.float64), Format(60, 60))[0] == 2**52 + 1


def test_quantise_saturates_a_wide_format_at_its_greatest_integer():
    assert quantise(one(1e30, np.float64), Format(62, 62))[0] == 2**61 - 1


def test_quantise_takes_float32_and_keeps_the_shape():
    found = quantise(np.full((2, 0, 3), 0.25, np.float32), Format(8, 4))
    assert (found.shape, found.dtype) == ((2, 0, 3), np.int64)


@checked
@given(FORMATS, st.data())
def test_dequantise_gives_the_value_that_quantise_takes_back(fmt, data):
    integer = data.draw(st.integers(fmt.low, fmt.high))
    value = dequantise(one(integer), fmt)[0]
    assert Fraction(float(value)) == integer * Fraction(2) ** (fmt.integer - fmt.width)
    assert quantise(one(value, np.float64), fmt)[0] == integer


@checked
@given(INTEGERS, st.integers(-16, 32), FORMATS)
def test_requantise_shifts_either_way_with_the_same_rounding(integer, fraction, fmt):
    assert requantise(one(integer), fraction, fmt)[0] == exactly(integer * Fraction(2) ** -fraction, fmt)


@checked
@given(INTEGERS, st.integers(-16, 32), FORMATS, st.sampled_from([(np.float32, 24), (np.float64, 53)]))
def test_requantise_gives_the_same_in_floats_that_hold_the_integers(integer, fraction, fmt, floats):
    dtype, bits = floats
    assume(abs(integer) + 2.0 ** (fraction - fmt.fraction - 1) < 2**bits)
    found = requantise(one(integer, dtype), fraction, fmt)
    assert found.dtype == dtype
    assert found[0] == exactly(integer * Fraction(2) ** -fraction, fmt)


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.float64])
@pytest.mark.parametrize("bits", [0, 1, 13])
def test_finer_keeps_the_dtype(dtype, bits):
    found = finer(np.array([-3, 0, 5], dtype), bits)
    assert found.dtype == dtype
    assert found.tolist() == [-3 * 2**bits, 0, 5 * 2**bits]


@checked
@given(INTEGERS, st.integers(1, 90), st.integers(-16, 24), FORMATS)
def test_divide_rounds_the_exact_quotient(integer, divisor, fraction, fmt):
    expected = exactly(Fraction(integer, divisor) * Fraction(2) ** -fraction, fmt)
    assert divide(one(integer), divisor, fraction, fmt)[0] == expected


def test_requantise_by_hand_rounds_negative_halves_up():
    found = requantise(np.array([-6, -5, -3, -2, -1, 0, 1, 2, 3]), 2, Format(8, 8))
    assert found.tolist() == [-1, -1, -1, 0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("dtype", [np.int64, np.float32])
@pytest.mark.parametrize("fraction", [-1, 0, 3])
def test_requantise_leaves_its_argument_alone(fraction, dtype):
    given_integers = np.array([1000, -1000], dtype)
    requantise(given_integers, fraction, Format(4, 4))
    assert given_integers.tolist() == [1000, -1000]


@pytest.mark.parametrize(
    ("fmt", "low", "high", "text"),
    [
        (Format(8, 8), -128, 127, "fixed<8,8>"),
        (Format(8, 0, signed=False), 0, 255, "ufixed<8,0>"),
        (Format(1, 1), -1, 0, "fixed<1,1>"),
        (Format(1, 1, signed=False), 0, 1, "ufixed<1,1>"),
        (Format(62, 70), -(2**61), 2**61 - 1, "fixed<62,70>"),
    ],
)
def test_ends_and_text_of_a_format(fmt, low, high, text):
    assert (fmt.low, fmt.high, str(fmt)) == (low, high, text)


@pytest.mark.parametrize(("integer", "fraction"), [(3, 5), (-2, 10), (12, -4)])
def test_bits_after_the_point_may_be_more_than_all_or_negative(integer, fraction):
    assert Format(8, integer).fraction == fraction


@pytest.mark.parametrize("width", [0, -3, 63])
def test_a_width_out_of_range_is_refused(width):
    with pytest.raises(BadInput) as error:
        Format(width, 2)
    assert str(error.value) == f"format fixed<{width},2>: a width of 1 to 62 bits is wanted"


@pytest.mark.parametrize("record", [Format(8, 2), LayerFormats(Format(8, 2))])
def test_formats_are_frozen_and_take_no_other_field(record):
    name, text = record.__struct_fields__[0], msgspec.json.encode(record)
    assert msgspec.json.decode(text, type=type(record)) == record
    with pytest.raises(AttributeError):
        setattr(record, name, getattr(record, name))
    with pytest.raises(msgspec.ValidationError, match="unknown field `bits`"):
        msgspec.json.decode(text[:-1] + b', "bits": 1}', type=type(record))


@checked
@given(st.integers(0, 2**50))
def test_an_accumulator_holds_the_largest_sum_of_either_sign_and_is_no_wider(largest):
    fmt = Format(accumulator_width(largest), 0)
    assert fmt.low <= -largest
    assert largest <= fmt.high
    assert fmt.width == 1 or largest > fmt.high // 2
