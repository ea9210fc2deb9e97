"""A student in SystemVerilog, and its cosimulation.

Trains the small student of 05, writes it as an RTL project (sources, weights, a test bench with real images, a README),
and, where Icarus is there, runs it: every start cycle against the simulator, every bit against the integer reference.

It prints:

    rtl: 6 layers on macs 64, 20 sources, 4 test images; README.md says how to run it
    icarus, 2 frames: latency 12,221 cycles in RTL, 12,221 in the recurrence; ... all 20 outputs equal
"""

from pathlib import Path

from distill import recipe
from distill.run import run
from hw.accelerator import Budget
from reports import students
from reports.projects import rtl_project
from sim.cosim import check_run
from sim.rtl_simulators import available

folder = Path("runs/digits-small")
run(recipe.load("digits-small"), folder, workers=1)
students.make(folder)
budget = Budget("macs 64", macs=64)
print(rtl_project(folder, budget, Path("rtl"), force=True))
if available("icarus"):
    print(check_run(folder, budget, frames=2))
else:
    print("Icarus Verilog (iverilog) is not installed, so the RTL was not run")
