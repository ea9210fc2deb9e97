"""An ONNX file of your own, simulated.

Only its architecture is read, not its weights. The file is made here with onnx's helpers, so that nothing but the extra
`onnx` is needed; `torch.onnx.export` writes such files too.

It prints:

    mine: input 28x28x1
      first   conv 1x3 padding 0,0,1,1 relu  input -> 28x28x8
      second  conv 1x3 padding 0,0,1,1  first -> 28x28x8
      pool    mean 28x28 stride 28,28  second -> 1x1x8
    pipeline-64: 3,176 cycles, 149 bytes of line memory
    line-64: 4,513 cycles, 480 bytes of line memory
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hw import onnx_file
from hw.accelerator import machine
from sim.run import simulate


def conv(name: str, source: str, inputs: int, outputs: int) -> tuple[onnx.NodeProto, onnx.TensorProto]:
    """A 1x3 convolution with weights of zero."""
    weights = numpy_helper.from_array(np.zeros((outputs, inputs, 1, 3), np.float32), f"{name}.weight")
    node = helper.make_node(
        "Conv", [source, weights.name], [f"{name}.out"], name, kernel_shape=[1, 3], pads=[0, 1, 0, 1]
    )
    return node, weights


first, first_weights = conv("first", "image", 1, 8)
second, second_weights = conv("second", "active", 8, 8)
nodes = [first, helper.make_node("Relu", ["first.out"], ["active"], "relu"), second]
nodes.append(helper.make_node("GlobalAveragePool", ["second.out"], ["logits"], "pool"))
image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 28, 28])
logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 8, 1, 1])
graph = helper.make_graph(nodes, "mine", [image], [logits], [first_weights, second_weights])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), "mine.onnx")

network = onnx_file.read(Path("mine.onnx"))
print(network)
for name in ("pipeline-64", "line-64"):
    found = simulate(network, machine(name))
    print(f"{name}: {found.latency_cycles:,} cycles, {found.line_memory_bytes:,} bytes of line memory")
