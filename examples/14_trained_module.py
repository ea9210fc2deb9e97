"""A torch module that you trained elsewhere: as 8-bit integers, on a machine, and as RTL.

`student_of` traces it, chooses every number's format on training images and gives integers; nothing is fine-tuned, so
compare accuracies. It is shown pixels as 0 to 255/256: what your training did to them before is the module's own first
step here. The folder that `save` makes is taken by every command in place of a run's, such as
`pacemaker cosim runs/mine` or `pacemaker generate runs/mine --out hls`.

It prints (accuracies are of so short a training):

    float ...%  integers ...%
    557 cycles, 0 bytes of line buffers
    runs/mine/rtl/README.md
"""

from pathlib import Path

import torch
from torch import nn

from distill.data import DataSpec, load
from distill.filters import on_the_fly
from distill.train import to_input
from hw import student
from hw.accelerator import machine
from hw.rtl.project import write_project
from reports.students import accuracy_of
from reports.trained_modules import student_of
from sim.folding import settled
from sim.run import simulate


class Normalise(nn.Module):
    """What the training does to its pixels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images as they are -> centred and scaled."""
        return (x - 0.3) / 0.35


torch.manual_seed(0)
data = load(DataSpec("digits"))
layers = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
model = on_the_fly(nn.Sequential(Normalise(), *layers, nn.Flatten(), nn.Linear(16 * 64, 10)))
optimiser = torch.optim.Adam(model.parameters(), 3e-3)
pixels, labels = to_input(data.train.pixels), torch.tensor(data.train.labels)
for _ in range(60):
    loss = nn.functional.cross_entropy(model(pixels), labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

made = student_of(model, data.train.pixels, data.test, name="mine")
right = (model(to_input(data.test.pixels)).argmax(1).numpy() == data.test.labels).mean()
print(f"float {right:.1%}  integers {accuracy_of(made, data.test):.1%}")
student.save(made, Path("runs/mine/student"))
found = simulate(made.network, machine("pipeline-256"))
print(f"{found.latency_cycles:,} cycles, {found.line_buffer_bytes} bytes of line buffers")
project = Path("runs/mine/rtl")
write_project(made, settled(made.network, machine("pipeline-256")), project, images=8, force=True)
print(project / "README.md")
