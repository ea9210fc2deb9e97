"""Train a small 1x3 student with a pacemaker, on scikit-learn's digits.

Teacher (3x3), a student by labels alone (`ce`), the pacemaker (here: the ensemble of both, `logits`) and the student
that learns from it; then the best one on validation images becomes integers of 8 bits. One seed and four epochs show
how it is done and say nothing of who is better: that wants several seeds (`recipe.load("digits")` has three).

It prints:

    teacher              validation ...%  test ...%
    ce                   validation ...%  test ...%
    logits               validation ...%  test ...%
    logits-student       validation ...%  test ...%
    ...-int8 ... validation ...%  test ...%
    integers equal the fake-quantised module on 359 of 359 test images
"""

from pathlib import Path

from distill import recipe
from distill.run import run
from reports import students

folder = Path("runs/digits-small")
# One worker trains in this process. With more, put your script's work under `if __name__ == "__main__":`.
run(recipe.load("digits-small"), folder, workers=1)
twins = students.make(folder)
for name, accuracy in students.accuracies(folder).items():
    print(f"{name:20} validation {accuracy['validation'].mean:6.1%}  test {accuracy['test'].mean:6.1%}")
print(f"integers equal the fake-quantised module on {twins.equal_images[0]} of {twins.test_images} test images")
