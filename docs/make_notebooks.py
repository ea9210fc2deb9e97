"""Run the example notebooks and keep their outputs, without what tells of the machine that ran them.

    python docs/make_notebooks.py [NOTEBOOK ...]

Wants nbclient, nbformat and ipykernel, which are no dependencies of this project (the tests run the cells without
them), and pillow.
"""

import base64
import io
import itertools
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[1] / "examples"
SECONDS = 600
COLOURS = 64


def main(paths: list[Path]) -> None:
    """Run each in an empty folder, and write it where it lies."""
    import nbformat
    from nbclient import NotebookClient

    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            resources = {"metadata": {"path": folder}}
            NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=resources).execute()
        cleaned(notebook)
        nbformat.validate(notebook)
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size:,} bytes")


def cleaned(notebook: Any) -> None:
    """Leave out times, kernel's paths and cells' random names; small pictures, and one text a cell."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", {}
        if cell.cell_type == "code":
            cell.outputs = list(_joined(cell.outputs))
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    output.data = {"image/png": _small(output.data["image/png"])}
                    output.metadata = {}


def _joined(outputs: Iterable[Any]) -> Iterator[Any]:
    """What was printed in several goes is one text."""
    for name, group in itertools.groupby(outputs, key=lambda output: output.get("name")):
        first, *others = group
        if name is not None:
            first.text += "".join(output.text for output in others)
            others = []
        yield from (first, *others)


def _small(picture: str) -> str:
    """A PNG in base64 with so many colours as its figure has use for."""
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    written = io.BytesIO()
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(written, "png", optimize=True)
    return base64.b64encode(written.getvalue()).decode()


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]] or sorted(EXAMPLES.glob("*.ipynb")))
