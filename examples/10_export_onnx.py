"""A student as ONNX, exact to the bit.

Trains the small student of 05 and writes it twice: plain, as a float network, and exact, rounding and saturating as the
integers do. The exact one is then run by onnx's own evaluator on test images and compared with the integer reference.

It prints:

    runs/digits-small/student.onnx: 6 layers in float32, opset 17, nothing rounded between layers
    runs/digits-small/student-exact.onnx: 6 layers in float32, opset 17, rounded and saturated as the student
    50 of 50 images equal the integer reference in every bit
"""

from pathlib import Path

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from distill import recipe
from distill.run import run
from hw import student
from hw.fixed import dequantise
from hw.onnx_out import export_run
from reports import students

folder = Path("runs/digits-small")
run(recipe.load("digits-small"), folder, workers=1)
students.make(folder)
print(export_run(folder))
exact = export_run(folder, exact=True)
print(exact)
made = student.of_run(folder)
images = made.images[:50]
values = dequantise(images, made.formats["input"].out).astype(np.float32).transpose(0, 3, 1, 2)
found = ReferenceEvaluator(onnx.load(exact.file)).run(None, {"image": values})[0]
wanted = dequantise(made.outputs[:50], made.formats[made.network.output.name].out).reshape(50, -1)
print(f"{(found == wanted).all(axis=1).sum()} of {len(images)} images equal the integer reference in every bit")
