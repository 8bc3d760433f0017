// The training: moments that the run has kept, and learning in this page, with its curve.

const settings = { ...run.settings };
const SLIDERS = { // each setting's slider, and how it is said
  epsilon: { name: "epsilon", of: Number, to: Number, say: (value) => value.toFixed(2) },
  gamma: { name: "gamma", of: Number, to: Number, say: (value) => value.toFixed(2) },
  rate: { name: "learningRate", of: (at) => 10 ** at, to: Math.log10, say: (value) => String(Number(value.toPrecision(2))) },
  batch: { name: "batchSize", of: (at) => 2 ** at, to: Math.log2, say: String },
  seed: { name: "seed", of: Number, to: Number, say: String },
};
const PATIENCE = 500; // epochs that a click on "Go on" adds

function setMoment(place, draw = true) {
  page.moment = place;
  page.counted = false;
  if (isFruit) page.exact = qStar(G, run.settings.gamma);
  useWeights(weights[place]);
  showTraining();
  if (draw) render();
}

// Learning in this page

function buildLearning() {
  for (const [id, { name, of, to, say: words }] of Object.entries(SLIDERS)) {
    const slider = byId(id), output = slider.parentElement.querySelector("output");
    const tell = () => {
      output.textContent = words(settings[name]);
      slider.setAttribute("aria-valuetext", output.textContent);
    };
    slider.value = to(settings[name]);
    slider.addEventListener("input", () => {
      settings[name] = of(slider.valueAsNumber);
      tell();
      if (page.live && name !== "seed") page.live.worker.postMessage({ settings: { ...settings } });
      if (page.live && name === "gamma" && isFruit) {
        page.exact = qStar(G, settings.gamma);
        render();
      }
    });
    tell();
  }
  if (!GAME) byId("otherwise").textContent = "This game has no JavaScript, so nothing can be learned here.";
  else if (run.otherwise)
    byId("otherwise").textContent = `The run has learned with ${run.otherwise}. Here it is RMSprop and the mean squared error, without these.`;
  byId("scratch").addEventListener("click", () => beginLearning(null, PATIENCE));
  byId("go").addEventListener("click", () => {
    if (!page.live) beginLearning(weights[page.moment], PATIENCE);
    else setGoal(page.live.goal > page.live.epoch ? 0 : page.live.epoch + PATIENCE);
  });
  byId("once").addEventListener("click", () => {
    if (!page.live) beginLearning(weights[page.moment], 0);
    setGoal(0);
    page.live.worker.postMessage({ step: true });
  });
  byId("reset").addEventListener("click", endLearning);
}

// Start the Worker, from random weights or from some.
function beginLearning(from, goal) {
  if (page.live) page.live.worker.terminate();
  else page.scores.delete("live");
  const script = new Blob([byId("learning").textContent, "\nserve();"], { type: "text/javascript" });
  const worker = new Worker(URL.createObjectURL(script));
  const { name, shape, gridSize } = run.game;
  page.live = { worker, goal, epoch: 0, updates: 0, points: [], loss: null, rate: 0 };
  worker.onmessage = ({ data }) => takeReport(worker, data);
  worker.onerror = (event) => { byId("live").textContent = `The browser cannot learn here: ${event.message}`; };
  page.counted = false;
  worker.postMessage({ begin: { layers: LAYERS, shape, game: name, gridSize, settings: { ...settings }, weights: from } });
  if (goal > 0) worker.postMessage({ goal });
  if (isFruit) page.exact = qStar(G, settings.gamma);
  showTraining();
}

function endLearning() {
  if (!page.live) return;
  page.live.worker.terminate();
  page.live = null;
  page.scores.delete("live");
  setMoment(page.moment);
}

function setGoal(goal) {
  page.live.goal = goal;
  page.live.worker.postMessage({ goal });
  showTraining();
}

// What the Worker says: weights, and how it goes. Everything is shown with these weights.
function takeReport(worker, { weights: array, points, epoch, updates, loss, updatesPerSecond, finite }) {
  if (page.live?.worker !== worker) return; // of a learning that was ended
  Object.assign(page.live, { epoch, updates, finite, loss: loss ?? page.live.loss });
  if (updatesPerSecond > 0) page.live.rate = updatesPerSecond;
  page.live.points.push(...points);
  if (!finite) page.live.goal = 0;
  useWeights(array);
  showTraining();
  render();
}

// What is shown

// Points of the curve, {epoch, value, error, loss}: those of the run, or of the live learning.
function curvePoints() {
  const share = (wins) => (run.starts ? wins / run.starts : null);
  if (page.live)
    return page.live.points.map(({ epoch, wins, meanReturn, qError, loss }) =>
      ({ epoch, value: meanReturn ?? share(wins), error: qError ?? null, loss }));
  const points = run.curve.map(([epoch, value, error, loss]) =>
    ({ epoch, value: run.starts ? share(value) : value, error, loss }));
  const [{ epoch, wins, meanReturn, qError }] = run.moments;
  if (epoch === 0) points.unshift({ epoch, value: run.starts ? share(wins) : meanReturn, error: qError, loss: null });
  return points;
}

function showTraining() {
  const { live } = page, learning = live !== null && live.goal > live.epoch;
  byId("kept").hidden = live !== null;
  byId("live").hidden = live === null;
  byId("go").textContent = learning ? "Pause" : "Go on";
  byId("reset").disabled = live === null;
  byId("go").disabled = byId("once").disabled = live?.finite === false;
  const points = curvePoints(), last = points.at(-1);
  const tell = (value, error) => {
    const measure = run.starts ? `Wins ${Math.round(value * run.starts)} of ${run.starts} starts`
      : `Mean return ${value === null || value === undefined ? "not measured" : signed(value)}`;
    if (!isFruit) return measure;
    return `${measure}; mean |Q \u2212 Q*| ${Number.isFinite(error) ? error.toFixed(3) : "is no number"}`;
  };
  if (live) {
    const state = live.finite === false ? "The loss is no number any more. A smaller learning rate would help."
      : `Epoch ${live.epoch}, ${live.updates} updates, ${learning ? `${Math.round(live.rate)} a second` : "paused"}`;
    byId("live").textContent = state;
    byId("moment-facts").textContent = last ? tell(last.value, last.error) : "";
  } else {
    const { epoch, wins, meanReturn, qError } = run.moments[page.moment];
    let words = `epoch ${epoch} of ${run.epochs}`;
    if (epoch === 0) words = "untrained";
    if (epoch === run.epochs) words = `epoch ${epoch}, ${run.updates > 0 ? "trained" : "not trained yet"}`;
    byId("moment-name").textContent = words;
    byId("moment").setAttribute("aria-valuetext", words);
    byId("moment-facts").textContent = tell(run.starts ? wins / run.starts : meanReturn, qError);
  }
  showKey();
  showCurve(points);
}

// What the lines and marks of the curve are.
function showKey() {
  const key = [["value", isFruit ? "wins" : "mean return"], ["error", "|Q \u2212 Q*|"], ["loss", page.live?.loss ? `loss ${page.live.loss.toPrecision(2)} (right)` : "loss (right)"], ["kept", "kept"]];
  byId("curve-key").replaceChildren(...key.filter(([kind]) => (kind !== "error" || isFruit) && (kind !== "kept" || !page.live)).map(([kind, words]) => {
    const span = document.createElement("span"), swatch = document.createElement("i");
    swatch.className = `swatch ${kind}`;
    span.append(swatch, words);
    return span;
  }));
}

// The learning curve, in pixels of its own size so that letters are not stretched. Left: the share
// of starts won, or the mean return; right: the loss, by powers of ten.
function showCurve(points) {
  const curve = byId("curve"), width = curve.clientWidth, height = curve.clientHeight;
  const left = 38, right = width - 46, top = 10, bottom = height - 38;
  const end = page.live ? Math.max(page.live.goal, page.live.epoch, PATIENCE) : run.epochs;
  const values = points.map(({ value }) => value).filter((value) => value !== null && value !== undefined);
  const low = isFruit ? 0 : Math.floor(Math.min(0, ...values)), high = isFruit ? 1 : Math.max(1, Math.ceil(Math.max(...values, 1)));
  const losses = points.map(({ loss }) => loss).filter((loss) => loss > 0 && Number.isFinite(loss)).map(Math.log10);
  const least = Math.floor(Math.min(...losses, -3)), most = Math.max(Math.ceil(Math.max(...losses, -1)), least + 1);
  const x = (epoch) => left + (right - left) * epoch / end;
  const y = (value) => bottom - (bottom - top) * clamp((value - low) / (high - low), 0, 1);
  const yLoss = (loss) => bottom - (bottom - top) * clamp((Math.log10(loss) - least) / (most - least), 0, 1);
  curve.replaceChildren();
  curve.setAttribute("viewBox", `0 0 ${width} ${height}`);
  for (const share of [0, 0.5, 1]) {
    const value = low + share * (high - low), at = y(value);
    svg("path", { d: `M${left} ${at}H${right}`, class: "grid" }, curve);
    svg("text", { x: left - 6, y: at + 5, class: "tick end" }, curve, signed(value, Number.isInteger(value) || Math.abs(value) >= 10 ? 0 : 1));
  }
  for (const power of [least, most])
    svg("text", { x: right + 6, y: yLoss(10 ** power) + 5, class: "tick loss" }, curve, power >= 0 ? 10 ** power : `1e\u2212${-power}`);
  const half = Math.round(end / 2), between = half < end ? (half + end) / 2 : 0.75 * end;
  const ticks = [[0, left, "middle"], ["epoch", x(between), "middle"], [end, right, "middle"]];
  if (half > 0 && half < end) ticks.splice(1, 0, [half, x(half), "middle"]);
  for (const [words, at, side] of ticks)
    svg("text", { x: at, y: bottom + 24, class: `tick ${side}` }, curve, words);
  const line = (name, height_) => svg("polyline", {
    points: points.filter((point) => Number.isFinite(point[name])).map((point) => `${x(point.epoch)},${height_(point[name])}`).join(" "),
    class: name,
  }, curve);
  line("loss", (loss) => (loss > 0 ? yLoss(loss) : bottom));
  line("value", y);
  if (isFruit) line("error", y);
  const now = page.live ? points.at(-1) : {
    epoch: run.moments[page.moment].epoch, error: run.moments[page.moment].qError,
    value: run.starts ? run.moments[page.moment].wins / run.starts : run.moments[page.moment].meanReturn,
  };
  if (!page.live)
    for (const [place, { epoch }] of run.moments.entries()) {
      const chosen = place === page.moment, at = x(epoch);
      if (chosen) svg("path", { d: `M${at} ${top}V${bottom}`, class: "now" }, curve);
      svg("path", { d: `M${at} ${bottom + 1}l-5 9h10z`, class: chosen ? "moment now" : "moment" }, curve);
    }
  if (now && Number.isFinite(now.value)) svg("circle", { cx: x(now.epoch), cy: y(now.value), r: 5, class: "value" }, curve);
  if (now && isFruit && Number.isFinite(now.error))
    svg("rect", { x: x(now.epoch) - 4.5, y: y(now.error) - 4.5, width: 9, height: 9, class: "error" }, curve);
  const what = isFruit ? "share of starts won, and mean distance from the exact values" : "mean return";
  curve.setAttribute("aria-label", `Learning curve over ${end} epochs: ${what}; and the loss. Now at epoch ${now?.epoch ?? 0}.`);
}
