"""What hls4ml's backends can do here: how data moves, the strategies, how g++ compiles their C simulation."""

import math
import re
from types import MappingProxyType
from typing import Literal

import msgspec

from hw.errors import BadInput, DoesNotFit, nearest, need
from hw.network import Network

Strategy = Literal["auto", "Latency", "Resource", "distributed_arithmetic"]
STRATEGIES: tuple[Strategy, ...] = ("auto", "Latency", "Resource", "distributed_arithmetic")
AUTO, LATENCY, RESOURCE, ADDERS = STRATEGIES
STREAM = "io_stream"
PARALLEL = "io_parallel"
TESTED = ("1.3.0",)
"""Versions of hls4ml on which the tests of this package ran."""
REGISTERS = 4096
"""Values of one map at most in io_parallel: what hls4ml's scripts set as `maximum_size` of a complete partition."""
XILINX_PART = "xcvu13p-flga2577-2-e"


class Backend(msgspec.Struct, frozen=True):
    """A backend: `wide_means` tells that it takes means in its input's type, `command` what its vendor's tool runs."""

    name: str
    io_types: tuple[str, ...]
    strategies: tuple[Strategy, ...]
    part: str
    standard: str
    includes: tuple[str, ...]
    tool: str
    command: str
    wide_means: bool = False


_AP_TYPES = ("firmware/ap_types",)
_CATAPULT = tuple(f"firmware/{name}" for name in ("ac_types/include", "ac_math/include", "ac_simutils/include"))
BACKENDS = MappingProxyType(
    {
        backend.name: backend
        for backend in (
            Backend(
                name="Vitis",
                io_types=(STREAM, PARALLEL),
                strategies=STRATEGIES,
                part=XILINX_PART,
                standard="c++17",
                includes=_AP_TYPES,
                tool="Vitis HLS",
                command="vitis-run --mode hls --tcl build_prj.tcl",
            ),
            Backend(
                name="Vivado",
                io_types=(STREAM, PARALLEL),
                strategies=STRATEGIES,
                part=XILINX_PART,
                standard="c++17",
                includes=_AP_TYPES,
                tool="Vivado HLS",
                command='vivado_hls -f build_prj.tcl "csim=1 synth=1 cosim=1 export=0 vsynth=0"',
            ),
            Backend(
                name="Quartus",
                io_types=(PARALLEL,),
                strategies=(AUTO, RESOURCE),
                part="Arria10",
                standard="c++11",
                includes=("firmware/ac_types",),
                tool="the Intel HLS compiler",
                command="make student-fpga",
                wide_means=True,
            ),
            Backend(
                name="Catapult",
                io_types=(PARALLEL,),
                strategies=(AUTO, LATENCY, RESOURCE),
                part="xcku115-flvb2104-2-i",
                standard="c++11",
                includes=(*_CATAPULT, "firmware", "firmware/nnet_utils"),
                tool="Catapult",
                command="catapult -product ultra -shell -f build_prj.tcl",
                wide_means=True,
            ),
        )
    }
)


def backend(name: str, io_type: str = STREAM, strategy: str = AUTO) -> Backend:
    """A backend by name.

    Raises:
        BadInput: no such backend, or none that moves data this way or follows this strategy.
        MissingTool: da4ml is wanted and not installed.
    """
    if name not in BACKENDS:
        raise BadInput(f"backend {name}: not generated here{nearest(name, BACKENDS)}")
    found = BACKENDS[name]
    _check("io_type", io_type, found.io_types, name)
    _check("strategy", strategy, found.strategies, name)
    if strategy == ADDERS:
        need("da4ml", "hls", "strategy distributed_arithmetic")
    return found


def strategy_named(name: str) -> Strategy:
    """A strategy by name.

    Raises:
        BadInput: no such strategy.
    """
    for strategy in STRATEGIES:
        if name == strategy:
            return strategy
    raise BadInput(f"strategy {name}: wanted is one of {', '.join(STRATEGIES)}")


def check_target(clock_ns: float, part: str | None) -> None:
    """Refuse a clock or a part that no tool can take; they stand in the project's scripts as they are.

    Raises:
        BadInput: a period that is not above 0 and finite, or a part of other than letters, digits and `_ . + -`.
    """
    if not 0 < clock_ns < math.inf:
        raise BadInput(f"clock-ns: {clock_ns:g} was found, a period above 0 and below infinity is wanted")
    if part is not None and not re.fullmatch(r"[\w.+-]+", part, re.ASCII):
        raise BadInput(f"part: {part!r} was found, a name such as {XILINX_PART} is wanted")


def one_sum(backend_name: str, io_type: str) -> bool:
    """Whether a multiplier must serve one sum only: reuse factors above a sum's terms are computed wrongly.

    hls4ml's `conv_2d_resource_cl` for whole maps; Vivado's asserts it, Vitis' is silent and wrong.
    """
    return io_type == PARALLEL and backend_name in ("Vitis", "Vivado")


def check_maps(network: Network, io_type: str) -> None:
    """Refuse a network whose maps are too large for registers.

    Raises:
        DoesNotFit: in io_parallel, a map of more than `REGISTERS` values.
    """
    if io_type != PARALLEL:
        return
    for name, shape in network.shapes.items():
        values = shape.pixels * shape.channels
        if values > REGISTERS:
            raise DoesNotFit(
                f"layer {name}: io_parallel keeps its whole map of {shape}, {values} values, in registers; "
                f"{REGISTERS} at most are partitioned; take io_stream"
            )


def _check(what: str, value: str, known: tuple[str, ...], name: str) -> None:
    if value not in known:
        raise BadInput(f"{what} {value}: not generated for {name}{nearest(value, known)}")
