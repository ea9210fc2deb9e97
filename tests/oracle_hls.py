"""hls4ml's dataflow a cycle at a time: every process a small state machine, every FIFO a count. Plain and slow.

It shares nothing with `hw.hls.templates`'s schedules and the kernel but the assumed constants: loops are those of the
C++ templates with their counters, wiring is done here, and a stalled process is one whose counter stands still.
"""

from hw.hls import reuse
from hw.hls.forms import as_generated
from hw.hls.templates import SHIFT_CYCLES, STAGES
from hw.network import INPUT

HANDING_ON = 2
UNLIMITED = 10**9


class Fifo:
    """A count of pixels. What happens in a cycle is seen in the next."""

    def __init__(self, depth, held=0):
        self.depth, self.held, self.seen = depth, held, held
        self.taken = 0
        self.arrivals = []

    def settle(self):
        self.seen = self.held

    @property
    def some(self):
        return self.seen - self.taken > 0

    @property
    def room(self):
        return self.seen < self.depth

    def push(self, cycle):
        self.held += 1
        self.arrivals.append(cycle + 1)

    def pop(self):
        self.held -= 1


class Process:
    """Iterations of (reads, writes); `pipelined` ones overlap every `ii` cycles, others end before the next begins."""

    def __init__(self, inputs, outputs, loop, ii, stages, pipelined=True):
        self.inputs, self.outputs, self.loop = inputs, outputs, loop
        self.ii, self.stages, self.pipelined = ii, stages, pipelined
        self.ticks = list(self._ticks())
        self.tick = self.frame = 0

    def _ticks(self):
        """What each tick of a frame does: whether it reads, whether it writes."""
        if not self.pipelined:
            for reads, writes in self.loop:
                if writes:
                    yield reads, False
                    for _ in range(self.ii + self.stages - 1):
                        yield False, False
                    yield False, True
                else:
                    yield reads, False
                    for _ in range(SHIFT_CYCLES - 1):
                        yield False, False
            return
        for tick in range((len(self.loop) - 1) * self.ii + self.stages + 1):
            begins, left = divmod(tick, self.ii)
            reads = left == 0 and begins < len(self.loop) and self.loop[begins][0]
            ends, left = divmod(tick - self.stages, self.ii)
            yield reads, tick >= self.stages and left == 0 and self.loop[ends][1]

    def step(self, cycle):
        """One clock; True if the process moved."""
        reads, writes = self.ticks[self.tick]
        if reads and not all(fifo.some for fifo in self.inputs):
            return False
        if writes and not all(fifo.room for fifo in self.outputs):
            return False
        for fifo in self.inputs if reads else ():
            fifo.pop()
        for fifo in self.outputs if writes else ():
            fifo.push(cycle)
        self.tick += 1
        if self.tick == len(self.ticks):
            self.tick, self.frame = 0, self.frame + 1
        return True


def padding_loop(shape, padding):
    """`zeropad2d_cl`, loop by loop."""
    top, bottom, left, right = padding
    width = left + shape.cols + right
    loop = [(False, True)] * (top * width)
    for _ in range(shape.rows):
        loop += [(False, True)] * left + [(True, True)] * shape.cols + [(False, True)] * right
    return loop + [(False, True)] * (bottom * width)


def window_loop(rows, cols, layer):
    """`compute_output_buffer_2d`, counter by counter."""
    shift_x, shift_y = layer.kernel.cols - 1, layer.kernel.rows - 1
    px = py = sx = sy = 0
    loop = []
    for _ in range(rows * cols):
        loop.append((True, sx - shift_x == 0 and sy - shift_y == 0 and py > shift_y - 1 and px > shift_x - 1))
        if px + 1 == cols:
            px = sx = 0
            if py + 1 == rows:
                py = sy = 0
            else:
                py += 1
                sy = sy - layer.stride.rows + 1 if sy - shift_y == 0 else sy + 1
        else:
            px += 1
            sx = sx - layer.stride.cols + 1 if sx - shift_x == 0 else sx + 1
    return loop


def finishes(network, depths, factors=None, frames=3):
    """When each frame is through; None if the design stops for ever. Edges without a depth have no limit."""
    form = as_generated(network)
    chosen = reuse.choose(form, factors or {})
    port = Fifo(UNLIMITED, held=frames * form.shapes[INPUT].pixels)
    fifos, processes = [port], []
    tip = {}

    def fifo(depth=UNLIMITED):
        fifos.append(Fifo(depth))
        return fifos[-1]

    def behind(reader):
        return reader if reader in network.by_name else behind(form.consumers[reader][0])

    def deep(name, reader):
        return depths.get(f"{name} -> {behind(reader)}", UNLIMITED)

    def hand_out(name, stream):
        readers = form.consumers[name]
        if len(readers) == 1:
            tip[name, readers[0]] = stream
        elif readers:
            copies = [fifo(deep(name, reader)) for reader in readers]
            loop = [(True, True)] * form.shapes[name].pixels
            processes.append(Process([stream], copies, loop, 1, STAGES["clone"]))
            tip.update({(name, reader): copy for reader, copy in zip(readers, copies, strict=True)})

    hand_out(INPUT, port)
    for layer in form.layers:
        shape = form.input_shape(layer)
        inputs = [tip[source, layer.name] for source in layer.inputs]
        if any(layer.padding):
            padded = fifo(HANDING_ON)
            processes.append(Process(inputs, [padded], padding_loop(shape, layer.padding), 1, STAGES["pad"]))
            inputs = [padded]
        readers = form.consumers[layer.name]
        depth = UNLIMITED
        if len(readers) == 1:
            depth = deep(layer.name, readers[0]) if layer.name in network.by_name else HANDING_ON
        elif readers:
            depth = HANDING_ON
        output = fifo(depth)
        terms = layer.taps * (shape.channels if layer.kind == "conv" else 1)
        stages = STAGES[layer.kind] + (terms - 1).bit_length()
        factor = chosen[layer.name]
        if layer.windowed:
            top, bottom, left, right = layer.padding
            loop = window_loop(shape.rows + top + bottom, shape.cols + left + right, layer)
        else:
            loop = [(True, True)] * shape.pixels
        processes.append(Process(inputs, [output], loop, factor, stages, pipelined=factor == 1))
        hand_out(layer.name, output)
    return _clock(fifos, processes, form.shapes[form.output.name].pixels, frames)


def _clock(fifos, processes, pixels, frames):
    result = fifos[-1]
    cycle = 0
    while len(result.arrivals) < pixels * frames:
        for fifo in fifos:
            fifo.settle()
        moved = [process.step(cycle) for process in processes if process.frame < frames]
        if not any(moved):
            return None
        cycle += 1
    return result.arrivals[pixels - 1 :: pixels]
