"""The timeline tells every cycle once, and what it tells are the stamps."""

import json
from itertools import pairwise

import pytest
from random_networks import random_network, random_pipeline

from hw.accelerator import Budget
from hw.errors import BadInput, Deadlock
from hw.passes import executed
from hw.presets import preset
from reports import timeline as figure
from sim import folding, timeline
from sim.packing import issue_cycles
from sim.pipeline import simulate, stamps


def runs(count, frames):
    for seed in range(count):
        network, pipeline = random_network(seed), random_pipeline(seed, random_network(seed))
        try:
            yield network, pipeline, timeline.spans(network, pipeline, frames), stamps(network, pipeline, frames)
        except Deadlock:
            continue


def test_spans_leave_no_gap_and_work_as_long_as_the_layer_issues():
    for network, pipeline, spans, found in runs(80, 2):
        for layer in network.layers:
            of_layer, starts = spans[layer.name], found.starts[layer.name]
            ii = issue_cycles(network, layer, pipeline.engines[layer.name])
            assert of_layer[0].begin == starts[0]
            assert of_layer[-1].end == starts[-1] + ii
            assert all(one.end == two.begin and one.state != two.state for one, two in pairwise(of_layer))
            assert sum(span.end - span.begin for span in of_layer if span.state == "working") == ii * starts.size
            working = {cycle for span in of_layer if span.state == "working" for cycle in range(span.begin, span.end)}
            assert working == {start + k for start in starts.tolist() for k in range(ii)}


def test_stalls_of_the_last_frame_are_those_of_the_result():
    network = executed(preset("wrn-10-1"))
    pipeline = folding.pipeline(network, Budget("budget", 256, 100.0))
    result = simulate(network, network, pipeline)
    spans, found = timeline.spans(network, pipeline, 3), stamps(network, pipeline, 3)
    for layer in result.layers:
        pixels = network.shapes[layer.name].pixels
        ii = issue_cycles(network, network.by_name[layer.name], pipeline.engines[layer.name])
        since = found.starts[layer.name][-pixels - 1] + ii
        for state, cycles in (("starved", layer.starved_cycles), ("blocked", layer.blocked_cycles)):
            late = [span for span in spans[layer.name] if span.state == state and span.end > since]
            assert sum(span.end - max(span.begin, since) for span in late) == cycles


def test_a_trace_has_a_thread_a_layer_and_an_event_a_span():
    network, pipeline = random_network(1), random_pipeline(1, random_network(1))
    made = json.loads(json.dumps(timeline.trace(network, pipeline)))
    events = made["traceEvents"]
    threads = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert list(threads.values()) == list(network.by_name)
    spans = timeline.spans(network, pipeline)
    for thread, layer in threads.items():
        own = [event for event in events if event["ph"] == "X" and event["tid"] == thread]
        told = [(event["name"], event["args"]["begin_cycle"], event["args"]["end_cycle"]) for event in own]
        assert told == [tuple(span) for span in spans[layer]]
        assert all(event["ts"] == event["args"]["begin_cycle"] / 100.0 for event in own)


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_figures_are_written_and_the_same_every_time(tmp_path, ending):
    pytest.importorskip("matplotlib")
    spans = timeline.spans(random_network(1), random_pipeline(1, random_network(1)))
    for name in ("one", "two"):
        figure.draw(tmp_path / f"{name}.{ending}", "a title", spans, 100.0)
    one, two = (tmp_path / f"{name}.{ending}" for name in ("one", "two"))
    assert one.stat().st_size > 1000
    assert one.read_bytes() == two.read_bytes()
    if ending == "svg":
        assert all(word in one.read_text() for word in ("working", "starved", "blocked"))


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"t\.gif: a figure ends in \.svg, \.png, \.pdf; \.gif was found$"):
        figure.draw(tmp_path / "t.gif", "", {}, 100.0)
    assert not list(tmp_path.iterdir())
