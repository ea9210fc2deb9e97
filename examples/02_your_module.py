"""Your own torch module: its 1x3 twin, both traced and simulated.

`on_the_fly` makes every KxK filter 1xK. `trace` turns a module into the network that hardware sees; what no machine
executes is refused with the layer's name and what would do instead. Weights do not matter here, so nothing is trained.
`rows="keep"` takes all rows through the strides.

It prints:

    teacher: input 28x28x1
      0       conv 3x3 padding 1,1,1,1 bias relu  input -> 28x28x8
      3       conv 3x3 stride 2,2 padding 1,1,1,1 bias relu  0 -> 14x14x16
      6.mean  mean 14x14 stride 14,14  3 -> 1x1x16
      8       conv 1x1 bias  6.mean -> 1x1x10
    5,853 cycles, 504 bytes of line buffers
    student: input 28x28x1
      0       conv 1x3 padding 0,0,1,1 bias relu  input -> 28x28x8
      3       conv 1x3 stride 1,2 padding 0,0,1,1 bias relu  0 -> 28x14x16
      6.mean  mean 28x14 stride 28,14  3 -> 1x1x16
      8       conv 1x1 bias  6.mean -> 1x1x10
    4,093 cycles, 0 bytes of line buffers
"""

from torch import nn

from distill.filters import on_the_fly
from hw.accelerator import machine
from hw.network import Shape
from hw.passes import executed
from hw.trace import trace
from sim.run import simulate

teacher = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1, bias=False),
    nn.BatchNorm2d(8),
    nn.ReLU(),
    nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(16, 10),
)
for name, module in (("teacher", teacher), ("student", on_the_fly(teacher, rows="keep"))):
    network = trace(module, Shape(28, 28, 1), name).network
    print(executed(network))
    found = simulate(network, machine("pipeline-64"))
    print(f"{found.latency_cycles:,} cycles, {found.line_buffer_bytes} bytes of line buffers")
