"""Writes a `Student` on a `Pipeline` as SystemVerilog: the modules of this folder, a top level and its ROMs.

The design follows docs/pipeline.md cycle by cycle and `hw.reference` bit by bit.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from hw import fit
from hw.accelerator import Engine, Pipeline
from hw.files import make_folder, write_text
from hw.fixed import Format
from hw.network import INPUT, OUTPUT, Edge, Layer
from hw.rtl import engines
from hw.rtl.engines import Instance
from hw.student import Student

TOP = "student"


@dataclass(frozen=True)
class Design:
    """A written design: its folder, its sources in order, and how the network's names read in it.

    `nodes` maps `input`, layers and `output` to instances; `edges` maps "source -> target" to FIFO instances.
    """

    folder: Path
    sources: tuple[str, ...]
    nodes: Mapping[str, str]
    edges: Mapping[str, str]
    in_words: int
    in_word_bits: int
    out_words: int
    out_word_bits: int


def write(student: Student, pipeline: Pipeline, folder: Path) -> Design:
    """Write `rtl/*.sv` and `rtl/*.hex` below `folder`.

    Raises:
        BadInput: the machine does not belong to the network.
        UnsupportedLayer: a mean whose constants do not fit.
    """
    network = student.network
    names = _identifiers((INPUT, *network.by_name, OUTPUT))
    edges = {str(edge): f"fifo_{i}" for i, edge in enumerate(_edges(student))}
    fit.check(network, pipeline)
    in_channels, out_channels = (fit.port_channels(network, pipeline, name) for name in (INPUT, OUTPUT))
    target = folder / "rtl"
    make_folder(target)
    sources = []
    for source in sorted(resources.files("hw.rtl").iterdir(), key=lambda entry: entry.name):
        if source.name.endswith(".sv"):
            with resources.as_file(source) as path:
                shutil.copyfile(path, target / source.name)
            sources.append(source.name)
    instances = [engines.instance(student, pipeline, layer, names[layer.name]) for layer in network.layers]
    for instance in instances:
        for file, text in instance.roms.items():
            write_text(target / file, text)
    in_bits = in_channels * student.formats[INPUT].out.width
    out_bits = out_channels * student.formats[network.output.name].out.width
    writer = _Top(student, pipeline, names, edges, in_channels, out_channels, in_bits, out_bits)
    write_text(target / f"{TOP}.sv", "\n".join(writer.lines(instances)) + "\n")
    return Design(
        folder=target,
        sources=(*sources, f"{TOP}.sv"),
        nodes=names,
        edges=edges,
        in_words=network.shapes[INPUT].channels // in_channels,
        in_word_bits=in_bits,
        out_words=network.shapes[network.output.name].channels // out_channels,
        out_word_bits=out_bits,
    )


def _edges(student: Student) -> tuple[Edge, ...]:
    return (*student.network.edges, Edge(student.network.output.name, OUTPUT))


def _identifiers(names: tuple[str, ...]) -> dict[str, str]:
    """Names as SystemVerilog identifiers, each once."""
    found: dict[str, str] = {}
    for name in names:
        plain = "n_" + "".join(c if c.isalnum() and c.isascii() else "_" for c in name)
        while plain in found.values():
            plain += "_"
        found[name] = plain
    return found


@dataclass(frozen=True)
class _Top:
    """The top level: a FIFO an edge, an engine a layer, and the wires between them."""

    student: Student
    pipeline: Pipeline
    names: Mapping[str, str]
    edges: Mapping[str, str]
    in_channels: int
    out_channels: int
    in_bits: int
    out_bits: int

    def lines(self, instances: list[Instance]) -> Iterator[str]:
        network = self.student.network
        yield f"// {network.name}: {len(network.layers)} layers, from {network.shapes[INPUT]}."
        yield f"module {TOP} ("
        yield "    input  logic clk,"
        yield "    input  logic rst,"
        yield "    input  logic in_valid,"
        yield "    output logic in_ready,"
        yield f"    input  logic [{self.in_bits - 1}:0] in_data,"
        yield "    output logic out_valid,"
        yield "    input  logic out_ready,"
        yield f"    output logic [{self.out_bits - 1}:0] out_data"
        yield ");"
        for name in (INPUT, *network.by_name):
            yield from self._writer_wires(name)
        for edge in _edges(self.student):
            yield from self._fifo(edge)
        yield from self._source()
        for layer, instance in zip(network.layers, instances, strict=True):
            yield from self._engine(layer, instance)
        yield from self._sink()
        yield "endmodule"

    def _written(self, name: str) -> int:
        """Channels of a word that a node writes."""
        return self.in_channels if name == INPUT else self.pipeline.engines[name].pe

    def _read(self, edge: Edge) -> int:
        """Channels of a word that an edge's reader reads."""
        if edge.target == OUTPUT:
            return self.out_channels
        layer = self.student.network.by_name[edge.target]
        return engines.read_channels(self.student.network, layer, self.pipeline.engines[layer.name])

    def _format(self, name: str) -> Format:
        return self.student.formats[name].out

    def _writer_wires(self, name: str) -> Iterator[str]:
        own = self.names[name]
        fifos = [self.edges[str(edge)] for edge in _edges(self.student) if edge.source == name]
        width = self._written(name) * self._format(name).width
        yield f"    logic {own}_space, {own}_reserve, {own}_wr_valid, {own}_wr_last;"
        yield f"    logic [{width - 1}:0] {own}_wr_data;"
        spaces = [f"{fifo}_space" for fifo in fifos]
        yield f"    logic {', '.join(spaces)};"
        yield f"    assign {own}_space = {' & '.join(spaces)};"

    def _fifo(self, edge: Edge) -> Iterator[str]:
        own, source = self.edges[str(edge)], self.names[edge.source]
        bits, read = self._format(edge.source).width, self._read(edge)
        fifo = self.pipeline.fifos[str(edge)]
        latency = 0 if edge.target == OUTPUT else fifo.read_latency_cycles
        yield f"    // {edge}"
        yield f"    logic {own}_available, {own}_take, {own}_rd_en, {own}_free;"
        yield f"    logic [{read * bits - 1}:0] {own}_rd_data;"
        yield f"    pm_fifo #(.CHANNELS({self.student.network.shapes[edge.source].channels}), .BITS({bits}), "
        yield f"        .WRITE({self._written(edge.source)}), .READ({read}), .DEPTH({fifo.depth}), .LATENCY({latency})"
        yield f"    ) {own} (.clk, .rst, .space({own}_space), .reserve({source}_reserve), .wr_valid({source}_wr_valid),"
        yield f"        .wr_last({source}_wr_last), .wr_data({source}_wr_data), .available({own}_available),"
        yield f"        .take({own}_take), .rd_en({own}_rd_en), .free({own}_free), .rd_data({own}_rd_data));"

    def _source(self) -> Iterator[str]:
        own = self.names[INPUT]
        words = self.student.network.shapes[INPUT].channels // self.in_channels
        yield f"    pm_source #(.WORDS({words})) {own} (.clk, .rst, .in_valid, .in_ready, .space({own}_space),"
        yield f"        .reserve({own}_reserve), .wr_valid({own}_wr_valid), .wr_last({own}_wr_last));"
        yield f"    assign {own}_wr_data = in_data;"

    def _sink(self) -> Iterator[str]:
        network = self.student.network
        fifo = self.edges[str(Edge(network.output.name, OUTPUT))]
        words = network.shapes[network.output.name].channels // self.out_channels
        yield f"    pm_sink #(.WORDS({words})) {self.names[OUTPUT]} (.clk, .rst, .out_valid, .out_ready,"
        yield f"        .available({fifo}_available), .take({fifo}_take), .rd_en({fifo}_rd_en), .free({fifo}_free));"
        yield f"    assign out_data = {fifo}_rd_data;"

    def _engine(self, layer: Layer, instance: Instance) -> Iterator[str]:
        own = self.names[layer.name]
        fifos = [self.edges[str(Edge(source, layer.name))] for source in layer.inputs]
        reads = {port: f"{fifos[0]}_{port}" for port in ("available", "take", "rd_en", "free", "rd_data")}
        if len(fifos) > 1:
            yield from self._gathered(layer, instance.engine, fifos)
            reads = {port: f"{own}_{port}" for port in reads}
        parameters = ", ".join(f".{key}({value})" for key, value in instance.parameters.items())
        writes = {port: f"{own}_{port}" for port in ("space", "reserve", "wr_valid", "wr_last", "wr_data")}
        ports = ", ".join(f".{port}({wire})" for port, wire in {**reads, **writes}.items())
        yield f"    {instance.module} #({parameters}) {own} (.clk, .rst, {ports});"

    def _gathered(self, layer: Layer, engine: Engine, fifos: list[str]) -> Iterator[str]:
        """The FIFOs of a join as vectors; words of narrower inputs extended to the widest."""
        own = self.names[layer.name]
        widest = max(self._format(name).width for name in layer.inputs)
        count = len(fifos)
        yield f"    logic [{count - 1}:0] {own}_available, {own}_take, {own}_rd_en, {own}_free;"
        yield f"    logic [{count * engine.pe * widest - 1}:0] {own}_rd_data;"
        for i, fifo in enumerate(fifos):
            yield f"    assign {own}_available[{i}] = {fifo}_available;"
            for port in ("take", "rd_en", "free"):
                yield f"    assign {fifo}_{port} = {own}_{port}[{i}];"
            fmt = self._format(layer.inputs[i])
            for p in range(engine.pe):
                word = f"{fifo}_rd_data[{p * fmt.width}+:{fmt.width}]"
                extra = widest - fmt.width
                sign = f"{fifo}_rd_data[{(p + 1) * fmt.width - 1}]" if fmt.signed else "1'b0"
                value = f"{{{{{extra}{{{sign}}}}}, {word}}}" if extra else word
                yield f"    assign {own}_rd_data[{(i * engine.pe + p) * widest}+:{widest}] = {value};"
