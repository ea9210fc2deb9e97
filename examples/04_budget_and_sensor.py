"""A pipeline folded to a budget, and behind a sensor that cannot be stalled.

A budget limits multipliers, DSPs or block RAMs; the folding found is the one with the least interval. `zynq-7020` is
that part's budget. Then: does it keep up with a sensor of so many megapixels a second, and which clock would do?

It prints:

    32 multipliers: 31 multipliers, 504 frames/s
    40 DSPs, 60 block RAMs: 31 multipliers, 504 frames/s
    zynq-7020: 208 multipliers, 2,015 frames/s
    FIFOs of 84 pixels; 37 keep the interval as well
    sensor of 1 megapixel/s: keeps up; 193.875 MHz are enough
    sensor of 2 megapixel/s: loses pixels; 387.75 MHz are enough
"""

from hw.accelerator import Budget, Source, machine
from hw.presets import preset
from sim.fifos import with_depths
from sim.run import simulate, size_fifos, watch

network = preset("wrn-10-1-1x3-keep")
budgets = [Budget("32 multipliers", macs=32), Budget("40 DSPs, 60 block RAMs", dsp=40, bram18=60), machine("zynq-7020")]
for budget in budgets:
    found = simulate(network, budget)
    print(f"{budget.name}: {found.multipliers} multipliers, {found.frames_per_second:,.0f} frames/s")

pipeline, sizing = size_fifos(network, Budget("64 multipliers", macs=64))
sized = with_depths(pipeline, sizing.sized)
print(f"FIFOs of {sum(sizing.before.values())} pixels; {sum(sizing.sized.values())} keep the interval as well")
for pixel_mhz in (1, 2):
    seen = watch(network, sized, Source(pixel_mhz))
    clock = f"{seen.least_clock_mhz:g} MHz are enough"
    print(f"sensor of {pixel_mhz} megapixel/s: {'keeps up' if seen.keeps_up else 'loses pixels'}; {clock}")
