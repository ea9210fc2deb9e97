// The switch of colours, and the start of everything; joined behind the other parts.

function startTheme() {
  for (const input of document.querySelectorAll('input[name="theme"]')) {
    input.addEventListener("change", () => {
      if (input.value === "auto") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = input.value;
      redraw();
    });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

// A chart on the screen keeps its size on paper and would be cut; a picture of it does not.
function startPaper() {
  addEventListener("beforeprint", () => {
    for (const [slot, { views }] of drawn) {
      const picture = [...views ?? []].find(view => view.frame)?.export("png").canvas;
      if (!picture) continue;
      picture.className = "printed";
      slot.append(picture);
    }
  });
  addEventListener("afterprint", () => document.querySelectorAll(".printed").forEach(picture => picture.remove()));
}

function redraw() {
  drawScatter();
  if (current !== null) drawCandidate(current);
}

startTheme();
startPaper();
startTable();
startScatter();
$("candidate-choice").addEventListener("change", event => openDesign(Number(event.target.value), false));
$("candidate-back").addEventListener("click", () => step(-1));
$("candidate-next").addEventListener("click", () => step(1));
if (details.size) openDesign([...details.keys()][0], false);
drawTable();
drawScatter().then(() => { document.documentElement.dataset.ready = "true"; });
