"""Plotting libraries in a page: bytes, and milliseconds in a headless Chromium until 5,600 points are drawn.

    PYTHONPATH=tests python tests/bench/plotting.py

Libraries that are not installed are left out; the last rows are the sweep's own page with 100,000 designs behind it.
"""

import importlib.util
import json
import statistics
import tempfile
import time
from importlib import metadata
from pathlib import Path
from random import Random

from chromium import Chromium
from sweep_example import a_large_sweep

from reports.sweep import page

POINTS, RUNS = 5600, 5
DRAWN = "requestAnimationFrame(() => requestAnimationFrame(() => { window.drawn = performance.now(); }))"
PLOTLY = f"""Plotly.newPlot("p", [{{x: points.x, y: points.y, mode: "markers", type: "scatter"}}],
    {{xaxis: {{type: "log"}}}})
    .then(() => {DRAWN});"""
BOKEH = f"""const figure = Bokeh.Plotting.figure({{x_axis_type: "log", width: 900, height: 600}});
    figure.scatter(points.x, points.y, {{size: 7}});
    Bokeh.Plotting.show(figure, "#p").then(() => {DRAWN});"""
VEGA = f"""vegaEmbed("#p", {{$schema: "https://vega.github.io/schema/vega-lite/v6.json", width: 900, height: 600,
    mark: "point",
    data: {{values: points.x.map((x, i) => ({{x, y: points.y[i]}}))}}, encoding: {{
    x: {{field: "x", type: "quantitative", scale: {{type: "log"}}}}, y: {{field: "y", type: "quantitative"}}}}}})
    .then(() => {DRAWN});"""


def bundle(package, *parts):
    found = importlib.util.find_spec(package)
    return Path(found.origin).parent.joinpath(*parts).read_text(encoding="utf-8")


def plotly():
    return f"<script>{bundle('plotly', 'package_data', 'plotly.min.js')}</script><script>{PLOTLY}</script>"


def bokeh():
    scripts = "".join(f"<script>{script.text}</script>" for script in page.bokeh())
    return f"{scripts}<script>{BOKEH}</script>"


def vega():
    import vl_convert

    script = vl_convert.javascript_bundle().replace("</script", "<\\/script")
    return f'<script type="module">{script}\n{VEGA}</script>'


LIBRARIES = (("plotly", "plotly", plotly), ("bokeh", "bokeh", bokeh), ("vega by vl-convert", "vl_convert", vega))


def html(body, evaluates):
    random = Random(0)
    data = {"x": [random.lognormvariate(9, 1) for _ in range(POINTS)], "y": [random.random() for _ in range(POINTS)]}
    policy = (
        f"default-src 'none'; script-src 'unsafe-inline'{evaluates}; style-src 'unsafe-inline'; img-src data: blob:"
    )
    return (
        f'<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<div id="p" style="width: 900px; height: 600px"></div><script>var points = {json.dumps(data)}</script>{body}'
    )


def drawn_ms(path, condition):
    """When the page says that it is drawn, in a browser of its own; None if it never does."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Chromium(profile)
        browser.call("Page.navigate", url=path.as_uri())
        end, found = time.monotonic() + 10, None
        while found is None and time.monotonic() < end:
            found = browser.js(condition)
            time.sleep(0.01)
        browser.close()
    return found


def told(name, path, condition):
    found = [drawn_ms(path, condition) for _ in range(RUNS)]
    size = f"{path.stat().st_size / 1e6:.2f}"
    when = "never" if None in found else f"{statistics.median(found):.0f} ({min(found):.0f} to {max(found):.0f})"
    print(f"| {name} | {size} | {when} |", flush=True)


def main():
    print(f"| page | MB | ms until drawn, median of {RUNS} (range) |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        for name, package, make in LIBRARIES:
            if importlib.util.find_spec(package) is None:
                continue
            version = metadata.version(package.replace("vl_convert", "vl-convert-python"))
            for evaluates, words in (("", "no eval"), (" 'unsafe-eval'", "eval allowed")):
                path.write_text(html(make(), evaluates), encoding="utf-8")
                told(f"{name} {version}, {words}", path, "window.drawn")
        begin = time.perf_counter()
        page.write(a_large_sweep(), path)
        print(f"| the sweep's page of 100,000 rows, made in {time.perf_counter() - begin:.1f} s |  |  |")
        ready = "document.documentElement?.dataset.ready && (window.seen ??= performance.now())"
        told("the sweep's page of 100,000 rows, all its charts", path, ready)


if __name__ == "__main__":
    main()
