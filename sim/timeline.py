"""What every layer does when: working, starved or blocked, as spans of cycles and as a trace that Perfetto opens."""

from typing import Literal, NamedTuple

import numpy as np

from hw.accelerator import Pipeline
from hw.network import Layer, Network
from sim.packing import Packed, issue_cycles, pack
from sim.pipeline import Stamps, inputs_ready, stamps

State = Literal["working", "starved", "blocked"]


class Span(NamedTuple):
    """A layer is in a state from cycle `begin` to the one before `end`."""

    state: State
    begin: int
    end: int


def spans(network: Network, pipeline: Pipeline, frames: int = 1) -> dict[str, list[Span]]:
    """Of every layer: what it does from its first start to the end of its last issue, without gaps.

    Raises:
        BadInput: the machine does not belong to the network.
        Deadlock: the pipeline stops for ever.
    """
    packed, found = pack(network, pipeline, frames), stamps(network, pipeline, frames)
    return {layer.name: _spans(network, pipeline, packed, found, layer) for layer in network.layers}


def _spans(network: Network, pipeline: Pipeline, packed: Packed, found: Stamps, layer: Layer) -> list[Span]:
    """States of one layer; neighbours of one state are one span."""
    starts = found.starts[layer.name]
    ii = issue_cycles(network, layer, pipeline.engines[layer.name])
    free = np.concatenate([starts[:1], starts[:-1] + ii])
    ready = np.clip(inputs_ready(network, packed, found, layer), free, starts)
    merged: list[Span] = []
    for begin, fed, start in zip(free.tolist(), ready.tolist(), starts.tolist(), strict=True):
        for span in (Span("starved", begin, fed), Span("blocked", fed, start), Span("working", start, start + ii)):
            if span.begin == span.end:
                continue
            if merged and merged[-1].state == span.state:
                merged[-1] = merged[-1]._replace(end=span.end)
            else:
                merged.append(span)
    return merged


def trace(network: Network, pipeline: Pipeline, frames: int = 1) -> dict[str, object]:
    """Spans in the Trace Event Format: one process, a thread a layer in the network's order, times in microseconds.

    Raises:
        BadInput: the machine does not belong to the network.
        Deadlock: the pipeline stops for ever.
    """
    events: list[dict[str, object]] = [_name("process_name", 0, f"{network.name} on {pipeline.name}")]
    for thread, (layer, found) in enumerate(spans(network, pipeline, frames).items(), 1):
        events += [_name("thread_name", thread, layer), _sort(thread)]
        events += [_event(thread, span, pipeline.clock_mhz) for span in found]
    return {"traceEvents": events, "displayTimeUnit": "ns"}


def _event(thread: int, span: Span, clock_mhz: float) -> dict[str, object]:
    times = {"ts": span.begin / clock_mhz, "dur": (span.end - span.begin) / clock_mhz}
    cycles = {"begin_cycle": span.begin, "end_cycle": span.end}
    return {"name": span.state, "cat": "layer", "ph": "X", "pid": 1, "tid": thread, "args": cycles, **times}


def _name(kind: str, thread: int, name: str) -> dict[str, object]:
    return {"name": kind, "ph": "M", "pid": 1, "tid": thread, "args": {"name": name}}


def _sort(thread: int) -> dict[str, object]:
    return {"name": "thread_sort_index", "ph": "M", "pid": 1, "tid": thread, "args": {"sort_index": thread}}
