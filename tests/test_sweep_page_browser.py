"""The page of a sweep in a real browser: every control, the keyboard, screen readers, hostile names, its size."""

import csv
import json

import msgspec
import pytest
from chromium import Chromium
from sweep_example import (
    SPACE,
    a_large_sweep,
    a_sweep,
    data_of,
    example,
    unpacked,
    with_networks_on_no_machine,
)

from reports.sweep import page

EVIL = '</script><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>&lt;b&gt;"\''


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return page.write(example(), tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def text(written):
    return written.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    browser = Chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def shown(chromium, written):
    chromium.screen()
    chromium.open(written)
    yield chromium
    assert chromium.complaints() == []


def redrawn(browser, act):
    """The scatter's label after an action that draws it anew."""
    before = int(browser.js("document.getElementById('scatter').dataset.drawn"))
    act()
    browser.wait(f"Number(document.getElementById('scatter').dataset.drawn) > {before}")
    return browser.js("document.getElementById('scatter').getAttribute('aria-label')")


DEEP_TEXT = """function deep(node) {
    let text = node.nodeType === 3 ? node.data : "";
    const shadow = node.shadowRoot ? node.shadowRoot.childNodes : [];
    for (const child of [...node.childNodes, ...shadow]) text += deep(child);
    return text;
}"""
TOOLTIP = f"[...document.querySelectorAll('.bk-Tooltip')].map({DEEP_TEXT}).join()"
VIEW = "[...Bokeh.index.roots].find(v => v.frame && document.getElementById('scatter').contains(v.el))"


def sources(browser):
    """The points of every group of the scatter, as (x, y) by design."""
    return browser.js(f"""{VIEW}.model.renderers.filter(r => r.data_source.data.row).map(r => ({{
        marker: r.glyph.marker.value, row: [...r.data_source.data.row], x: [...r.data_source.data.x],
        y: [...r.data_source.data.y], fill: [...new Set(r.data_source.data.fill)]}}))""")


def test_chart_follows_its_controls(shown, text):
    data = data_of(text)
    count = len(unpacked(data["groups"], 0))
    cycles, memory = (unpacked(data["rows"][name], count) for name in ("latency_cycles", "line_memory_bytes"))
    assert {each["marker"] for each in sources(shown)} == {"diamond", "triangle", "circle"}
    told = redrawn(shown, lambda: shown.choose("#axis-x", "latency_cycles"))
    assert told.startswith("Scatter of validation accuracy, % over latency, cycles: ")
    told = redrawn(shown, lambda: shown.choose("#axis-y", "line_memory_bytes"))
    assert told.startswith("Scatter of line memory, bytes over latency, cycles: ")
    points = sources(shown)
    assert sum(len(each["row"]) for each in points) == count
    for each in points:
        assert each["x"] == [cycles[i] for i in each["row"]]
        assert each["y"] == [memory[i] for i in each["row"]]


def test_chart_scales(shown):
    kinds = f"[{VIEW}.model.x_scale.type, {VIEW}.model.y_scale.type]"
    assert shown.js(kinds) == ["LogScale", "LinearScale"]
    redrawn(shown, lambda: shown.choose("#log-x", False))
    redrawn(shown, lambda: shown.choose("#log-y", True))
    assert shown.js(kinds) == ["LinearScale", "LogScale"]


def test_chart_colours_and_groups(shown):
    redrawn(shown, lambda: shown.choose("#axis-colour", "kind"))
    assert shown.js("[...document.querySelectorAll('#legend span')].map(e => e.textContent)") == [
        "line_engine",
        "pipeline",
    ]
    assert len({colour for each in sources(shown) for colour in each["fill"]}) == 2
    redrawn(shown, lambda: shown.choose("#axis-colour", "latency_cycles"))
    assert "(logarithmic)" in shown.text("#legend")
    assert len({colour for each in sources(shown) for colour in each["fill"]}) > 20
    told = redrawn(shown, lambda: shown.choose('#groups input[value="neighbour"]', False))
    assert "beside the front" not in told
    assert {each["marker"] for each in sources(shown)} == {"diamond", "circle"}


def point_of(browser, design):
    """Where a design of the front is on the screen."""
    return browser.js(f"""(() => {{
        document.documentElement.style.scrollBehavior = "auto";
        document.getElementById("scatter").scrollIntoView();
        const view = {VIEW}, box = view.el.getBoundingClientRect();
        const front = view.model.renderers.find(r => r.glyph.marker && r.glyph.marker.value === "diamond");
        const data = front.data_source.data;
        const at = data.row.indexOf({design});
        return [box.x + view.frame.x_scale.compute(data.x[at]), box.y + view.frame.y_scale.compute(data.y[at])];
    }})()""")


def test_click_opens_the_design(shown, text):
    front = next(each for each in sources(shown) if each["marker"] == "diamond")
    alone = [
        row
        for row, x, y in zip(front["row"], front["x"], front["y"], strict=True)
        if sum((x, y) == other for other in zip(front["x"], front["y"], strict=True)) == 1
    ]
    chosen = alone[-1]
    assert shown.js("document.getElementById('candidate-choice').value") != str(chosen)
    x, y = point_of(shown, chosen)
    shown.mouse(x, y, press=False)
    shown.mouse(x, y)
    shown.wait(f"document.getElementById('candidate-choice').value === '{chosen}'")
    assert shown.js("document.activeElement.id") == "candidate"
    shown.wait("document.querySelectorAll('#candidate-body .chart[data-drawn]').length >= 4")


def test_hover_tells_the_design(shown, text):
    data = data_of(text)
    chosen = sources(shown)[-1]["row"][0]
    shown.mouse(*point_of(shown, chosen), press=False)
    name = unpacked(data["rows"]["network"], len(unpacked(data["groups"], 0)))[chosen]
    shown.wait(f"{TOOLTIP}.includes({json.dumps(name)})")


def test_keyboard_opens_the_design(shown, text):
    shown.js("document.querySelector('#table tbody tr:nth-child(3) button').focus()")
    design = shown.js("document.activeElement.closest('tr').dataset.row")
    shown.key("Enter", 13, "\r")
    assert shown.js("document.getElementById('candidate-choice').value") == design
    assert shown.js("document.activeElement.id") == "candidate"
    title = shown.text("#candidate-body h3")
    shown.click("#candidate-next")
    assert shown.text("#candidate-body h3") != title
    shown.click("#candidate-back")
    assert shown.text("#candidate-body h3") == title


def test_candidate_has_all_its_parts(shown, text):
    detail = data_of(text)["details"][0]
    body = shown.text("#candidate-body")
    for words in ("Layers", "Memory and resources", "Training", "Machine", "Network as it is executed", "estimate: "):
        assert words in body
    assert f"{detail['layers'][0]['cycles']:,}" in body
    assert "mean of 3 seeds, standard deviation 0.4" in body
    assert shown.js("document.querySelectorAll('#candidate-body caption').length") >= 5


def cells(browser, column):
    """A column of the table's page, as the user sees it."""
    return browser.js(f"""(() => {{
        const heads = [...document.querySelectorAll("#table thead button")].map(e => e.value);
        const at = heads.indexOf({json.dumps(column)});
        return [...document.querySelectorAll("#table tbody tr")].map(r => r.children[at].textContent);
    }})()""")


def numbers(found):
    return [float(each.replace(",", "")) for each in found if each != "–"]


def test_table_sorts(shown):
    assert shown.js("document.querySelector('#table th[aria-sort=descending] button').value") == "accuracy"
    shown.click('#table thead button[value="latency_cycles"]')
    assert shown.js("document.querySelector('#table th[aria-sort=ascending] button').value") == "latency_cycles"
    assert shown.js("document.activeElement.value") == "latency_cycles"
    up = numbers(cells(shown, "latency_cycles"))
    assert up == sorted(up)
    shown.click('#table thead button[value="latency_cycles"]')
    down = numbers(cells(shown, "latency_cycles"))
    assert down == sorted(down, reverse=True)
    assert down[0] > up[0]


def test_table_filters(shown, text):
    data = data_of(text)
    count = len(unpacked(data["groups"], 0))
    shown.choose("#table-group", "front neighbour other bound")
    assert shown.text("#table-count").startswith(f"{count} of {count} designs")
    shown.choose("#table-text", "LINE_ENGINE PE=16")
    machines = unpacked(data["rows"]["machine"], count)
    wanted = [i for i in range(count) if "line_engine pe=16" in machines[i]]
    assert shown.text("#table-count").startswith(f"{len(wanted)} of ")
    shown.choose("#filter-column", "accuracy")
    shown.choose("#filter-least", "88.5")
    shown.click("#filter-add")
    accuracy = unpacked(data["rows"]["accuracy"], count)
    fewer = [i for i in wanted if 100 * accuracy[i] >= 88.5]
    assert 0 < len(fewer) < len(wanted)
    assert shown.text("#table-count").startswith(f"{len(fewer)} of ")
    assert min(numbers(cells(shown, "accuracy"))) >= 88.5
    shown.click("#filters button")
    assert shown.text("#table-count").startswith(f"{len(wanted)} of ")


def test_table_turns_pages_and_chooses_columns(shown):
    shown.choose("#table-group", "front neighbour other bound")
    first = cells(shown, "network")
    assert len(first) == 25
    assert shown.js("document.getElementById('page-back').disabled")
    shown.click("#page-next")
    assert shown.text("#page-told").startswith("page 2 of ")
    shown.click("#page-back")
    assert cells(shown, "network") == first
    before = shown.js("document.querySelectorAll('#table thead th').length")
    shown.choose('#columns input[value="parameters"]', True)
    assert shown.js("document.querySelectorAll('#table thead th').length") == before + 1
    shown.choose('#columns input[value="machine"]', False)
    assert shown.js("document.querySelectorAll('#table thead th').length") == before


ROWS = "[...document.querySelectorAll('#table tbody tr')].map(row => Number(row.dataset.row))"


def test_designs_as_good_as_each_other_are_one_line_that_opens(shown, text):
    firsts = data_of(text)["firsts"]
    assert sorted(shown.js(ROWS)) == sorted(set(firsts))
    told = f"{len(firsts)} of {len(unpacked(data_of(text)['groups'], 0))} designs in this page match, "
    assert shown.text("#table-count") == f"{told}in {len(set(firsts))} lines: those as good as each other are one"
    row = next(row for row in firsts if firsts.count(row) > 2)
    alike = [other for other, first in enumerate(firsts) if first == row]
    more = f'#table tr[data-row="{row}"] button.more'
    assert shown.text(more) == f"and {len(alike) - 1} as good"
    shown.js(f"document.querySelector('{more}').focus()")
    shown.key("Enter", 13, "\r")
    assert shown.js("document.activeElement.getAttribute('aria-expanded')") == "true"
    at = shown.js(ROWS).index(row)
    assert shown.js(ROWS)[at : at + len(alike)] == alike
    shown.click(f'#table tr[data-row="{alike[1]}"] .named button')
    assert shown.js("document.getElementById('candidate-choice').value") == str(alike[1])
    names = shown.js("[...document.querySelectorAll('#alike button')].map(each => each.textContent)")
    networks, machines = (unpacked(data_of(text)["rows"][name], 0) for name in ("network", "machine"))
    assert names == [f"{networks[i]} on {machines[i]}" for i in alike if i != alike[1]]
    shown.click("#alike summary")
    shown.click("#alike button")
    assert shown.js("document.getElementById('candidate-choice').value") == str(row)
    shown.click(more)
    assert sorted(shown.js(ROWS)) == sorted(set(firsts))


def test_networks_on_no_machine_have_a_table_of_their_own(chromium, tmp_path):
    path = page.write(with_networks_on_no_machine(example()), tmp_path / "dropped.html")
    chromium.screen()
    chromium.open(path)
    chromium.choose("#table-group", "network")
    assert chromium.text("#table-count") == "3 of 3 networks in this page match"
    assert cells(chromium, "network") == ["wrn-16-1 8 bit", "wrn-16-2 8 bit", "wrn-11-1 8 bit"]
    assert cells(chromium, "reason")[2] == "no depth 11"
    chromium.click("#table tbody tr:nth-child(3) .named button")
    assert chromium.text("#candidate-body h3") == "wrn-11-1 8 bit"
    assert "This network is on no machine: no depth 11." in chromium.text("#candidate-body")
    assert chromium.complaints() == []


def exported(browser, folder, kind):
    browser.downloads(folder)
    browser.click(f"#export-{kind}")
    path = folder / f"made-up-accuracies-selection.{kind}"
    for _ in range(200):
        if path.is_file() and path.stat().st_size:
            return path.read_bytes().decode()
        browser.js("new Promise(done => setTimeout(done, 25))")
    raise AssertionError("nothing was downloaded")


def test_export_has_what_is_shown(shown, text, tmp_path):
    data = data_of(text)
    count = len(unpacked(data["groups"], 0))
    shown.choose("#table-text", "pipeline macs=256")
    assert shown.text("#export-csv").startswith("Export ")
    found = list(csv.DictReader(exported(shown, tmp_path, "csv").splitlines()))
    machines, groups = unpacked(data["rows"]["machine"], count), unpacked(data["groups"], count)
    wanted = [i for i in range(count) if "pipeline macs=256" in machines[i] and groups[i] == "front"]
    assert len(found) == len(wanted) > 1
    assert {each["machine"] for each in found} == {machines[i] for i in wanted}
    for name in ("latency_cycles", "accuracy", "lut"):
        values = unpacked(data["rows"][name], count)
        assert sorted(float(each[name]) for each in found) == sorted(values[i] for i in wanted)
    assert all(each["dram_bytes"] for each in found)
    shown.choose("#table-text", "")
    shown.click("#table tbody tr:nth-child(2) input")
    assert shown.text("#export-json") == "Export 1 ticked as JSON"
    one = json.loads(exported(shown, tmp_path, "json"))
    name = "document.querySelector('#table tbody tr:nth-child(2) .named button').textContent"
    assert [each["network"] for each in one] == [shown.js(name)]
    assert list(one[0]) == list(found[0])


def test_theme_follows_browser_and_switch(shown):
    background = "getComputedStyle(document.body).backgroundColor"
    canvas = f"{VIEW}.model.background_fill_color.value ?? {VIEW}.model.background_fill_color"
    light = shown.js(background)
    redrawn(shown, lambda: shown.choose('input[name="theme"][value="dark"]', True))
    dark, dark_canvas = shown.js(background), shown.js(canvas)
    assert dark != light
    redrawn(shown, lambda: shown.choose('input[name="theme"][value="light"]', True))
    assert shown.js(background) == light
    assert shown.js(canvas) != dark_canvas
    redrawn(shown, lambda: shown.choose('input[name="theme"][value="auto"]', True))
    redrawn(shown, lambda: shown.screen(dark=True))
    assert shown.js(background) == dark
    assert shown.js(canvas) == dark_canvas


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_page_never_scrolls_sideways(shown, width):
    shown.screen(width, 844, mobile=width < 500)
    shown.js("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    shown.js("new Promise(done => setTimeout(done, 100))")
    assert shown.js("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert shown.js("document.getElementById('scatter').getBoundingClientRect().width") <= width


def test_everything_has_a_name_for_screen_readers(shown):
    shown.js("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    wanted = {"button", "checkbox", "combobox", "radio", "searchbox", "spinbutton", "textbox", "link", "image", "table"}
    found = []
    for node in shown.call("Accessibility.getFullAXTree")["nodes"]:
        role = node.get("role", {}).get("value")
        if not node["ignored"] and role in wanted:
            found.append((role, node.get("name", {}).get("value", "").strip()))
    assert wanted - {"textbox"} <= {role for role, _ in found}
    assert [role for role, name in found if not name] == []


def test_focus_is_seen(shown):
    shown.js("document.getElementById('axis-x').focus()")
    shown.key("Tab", 9)
    outline = "getComputedStyle(document.activeElement).outlineWidth"
    assert shown.js("document.activeElement.id") == "log-x"
    assert shown.js(outline) == "3px"


def test_paper_shows_whole_charts(shown):
    shown.js("dispatchEvent(new Event('beforeprint'))")
    shown.screen(700, media="print")
    widths = "[...document.querySelectorAll('.printed')].map(each => each.getBoundingClientRect().width)"
    assert len(shown.js(widths)) == shown.js("document.querySelectorAll('.chart').length") >= 5
    assert all(100 < width <= 700 for width in shown.js(widths))
    shown.js("dispatchEvent(new Event('afterprint'))")
    assert shown.js(widths) == []


def test_paper_has_no_controls(shown):
    shown.screen(media="print")
    assert shown.js("getComputedStyle(document.querySelector('.controls')).display") == "none"
    assert shown.js("getComputedStyle(document.querySelector('.verdict')).display") != "none"


@pytest.fixture
def lenient(chromium):
    """Without the page's policy, so that its text alone must be harmless."""
    chromium.call("Page.setBypassCSP", enabled=True)
    yield chromium
    chromium.call("Page.setBypassCSP", enabled=False)


def test_names_cannot_become_markup(lenient, tmp_path):
    chromium = lenient
    space = msgspec.structs.replace(SPACE)
    msgspec.structs.force_setattr(space, "name", EVIL)  # no space may be called so; the page does without that
    sweep = a_sweep(lambda name: f"{name} {EVIL}", space)
    path = page.write(sweep, tmp_path / "evil.html", beside=(f'{EVIL}".csv', "javascript:window.hacked=1"))
    assert EVIL not in path.read_text()
    chromium.screen()
    chromium.open(path)
    shown = chromium.js("document.querySelector('h1').textContent")
    assert shown == EVIL
    assert EVIL in chromium.text("#table tbody")
    assert EVIL in chromium.text("#candidate-body h3")
    redrawn(chromium, lambda: chromium.choose("#axis-colour", "network"))
    assert EVIL in chromium.text("#legend")
    chromium.mouse(*point_of(chromium, sources(chromium)[-1]["row"][0]), press=False)
    chromium.wait(f"{TOOLTIP}.includes('onerror')")
    chromium.choose("#table-text", "onerror")
    images = """(function count(node) { let n = node.querySelectorAll("img, script:not(body > script), b").length;
        for (const each of node.querySelectorAll("*")) if (each.shadowRoot) n += count(each.shadowRoot); return n; })"""
    assert chromium.js(f"{images}(document)") == 0
    assert chromium.js("[...document.querySelectorAll('a')].every(a => !a.protocol.startsWith('javascript'))")
    assert chromium.js("window.hacked") is None
    assert chromium.complaints() == []


def test_policy_stops_what_is_not_the_pages_own(chromium, written):
    chromium.screen()
    chromium.open(written)
    chromium.js(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.odd = 1'}))"
    )
    assert chromium.js("window.odd") is None
    assert "Content Security Policy" in json.dumps(chromium.complaints())


def test_a_hundred_thousand_rows(chromium, tmp_path):
    sweep = a_large_sweep(100_000)
    path = page.write(sweep, tmp_path / "large.html")
    assert path.stat().st_size <= 6_000_000
    data = data_of(path.read_text(encoding="utf-8"))
    groups = unpacked(data["groups"], 0)
    assert groups.count("other") == 5000
    assert groups.count("front") == page.front_of(sweep).sum()
    chromium.screen()
    chromium.open(path)
    assert sum(len(each["row"]) for each in sources(chromium)) == len(groups)
    redrawn(chromium, lambda: chromium.choose("#axis-x", "line_memory_bytes"))
    chromium.choose("#table-group", "front neighbour other bound")
    assert len(cells(chromium, "network")) == 25
    assert chromium.complaints() == []
