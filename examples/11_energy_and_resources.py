"""What one design takes: energy of a frame, LUTs, flip-flops, DSPs and block RAMs, and whether a part holds it.

All of it are estimates that name their source: energy by a table, LUTs and flip-flops by a fit to yosys' syntheses with
its error; DSPs and block RAMs follow yosys' rules. `pacemaker synth` counts a trained student by yosys itself.

It prints:

    wrn-10-1: 26.1 uJ a frame, most of it weight_memory_read
    6,155 LUTs, 5,991 flip-flops, 49 DSPs, 56 block RAMs of 18 kbit
    zynq-7020: fits (fullest are its DSPs, 22%; estimate, off by 9% on average where it was tested)
    wrn-10-1-1x3-keep: 19.3 uJ a frame, most of it weight_memory_read
    6,553 LUTs, 6,082 flip-flops, 56 DSPs, 21 block RAMs of 18 kbit
    zynq-7020: fits (fullest are its DSPs, 25%; estimate, off by 9% on average where it was tested)
"""

from hw.accelerator import Budget
from hw.devices import device, fit
from hw.passes import executed
from hw.presets import preset
from hw.resources import estimate
from sim.energy import load, priced
from sim.folding import settled
from sim.run import simulate

table = load("scaled-28nm")
for name in ("wrn-10-1", "wrn-10-1-1x3-keep"):
    network = executed(preset(name))
    pipeline = settled(network, Budget("64 multipliers", macs=64, clock_mhz=100.0))
    energy = priced(simulate(network, pipeline), network, pipeline, table).energy_uj
    assert energy
    print(f"{name}: {sum(energy.values()):.1f} uJ a frame, most of it {max(energy, key=lambda part: energy[part])}")
    taken = estimate(network, pipeline, activation_bits=8, weight_bits=8)
    print(f"{taken.lut:,} LUTs, {taken.ff:,} flip-flops, {taken.dsp} DSPs, {taken.bram18} block RAMs of 18 kbit")
    print(f"{fit(taken, device('zynq-7020'), pipeline.clock_mhz)}")
