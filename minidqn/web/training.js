// The training: moments that the run has kept, and learning in this page, with its curve.

const settings = { ...run.settings };
const PATIENCE = Math.max(run.epochs, 500); // epochs that a click adds
// Each slider's setting, and how the slider's place and the setting's value belong together.
const SLIDERS = {
  epsilon: { name: "epsilon", of: Number, to: Number },
  gamma: { name: "gamma", of: Number, to: Number },
  rate: { name: "learningRate", of: (at) => Number((10 ** at).toPrecision(2)), to: Math.log10 },
  batch: { name: "batchSize", of: (at) => 2 ** at, to: Math.log2 },
  seed: { name: "seed", of: Number, to: Number },
};

// Show the weights of a moment that the run has kept.
function setMoment(place, draw = true) {
  page.moment = place;
  page.counted = false;
  if (isFruit) page.exact = qStar(G, run.settings.gamma);
  greatest = 1;
  useWeights(weights[place]);
  showTraining();
  if (draw) render();
}

// Learning in this page

const sliders = []; // what shows each setting

function showSettings() {
  for (const show of sliders) show();
}

function buildLearning() {
  for (const [id, { name, of, to }] of Object.entries(SLIDERS)) {
    const slider = byId(id), output = slider.parentElement.querySelector("output");
    const show = () => {
      output.textContent = settings[name];
      slider.setAttribute("aria-valuetext", output.textContent);
    };
    slider.addEventListener("input", () => {
      settings[name] = of(slider.valueAsNumber);
      show();
      changeSetting(name);
    });
    sliders.push(() => {
      slider.value = to(settings[name]);
      show();
    });
  }
  showSettings();
  let words = "";
  if (!GAME) words = "The page cannot play this game itself, so nothing learns here.";
  else if (G > LARGEST) words = `A grid of more than ${LARGEST} takes too long to learn here.`;
  else if (run.otherwise)
    words = `The run has learned with ${run.otherwise}. Here it is the recipe, without these.`;
  byId("otherwise").textContent = words;
  byId("scratch").addEventListener("click", () => beginLearning(null, PATIENCE));
  byId("go").addEventListener("click", () => {
    if (!page.live) beginLearning(weights[page.moment], PATIENCE);
    else setGoal(learningNow() ? 0 : 100 * Math.ceil((page.live.epoch + PATIENCE) / 100));
  });
  byId("once").addEventListener("click", () => {
    if (!page.live) beginLearning(weights[page.moment], 0);
    else setGoal(0);
    page.live?.worker.postMessage({ step: true });
  });
  byId("reset").addEventListener("click", endLearning);
}

// The Worker takes up a setting at once, but for the seed, which counts at the next start.
function changeSetting(name) {
  if (!page.live || name === "seed") return;
  page.live.worker.postMessage({ settings: { [name]: settings[name] } });
  if (name !== "gamma" || !isFruit) return;
  page.exact = qStar(G, settings.gamma);
  render();
}

// Start the Worker, from some weights or, without, from random ones.
function beginLearning(from, goal) {
  if (page.live) page.live.worker.terminate();
  page.live = null;
  page.scores.delete("live");
  const source = [byId("learning").textContent, "\nserve();"];
  const url = URL.createObjectURL(new Blob(source, { type: "text/javascript" }));
  let worker;
  try {
    worker = new Worker(url);
  } catch ({ message }) { // where a browser allows no Worker in a file
    byId("otherwise").textContent = `The browser cannot learn here: ${message}`;
    return;
  }
  const { name, shape, gridSize } = run.game;
  page.live = { worker, goal, epoch: 0, updates: 0, points: [], loss: null, rate: 0, finite: true };
  worker.onmessage = ({ data }) => {
    URL.revokeObjectURL(url);
    takeReport(worker, data);
  };
  worker.onerror = ({ message }) => {
    byId("live").textContent = `The browser cannot learn here: ${message}`;
  };
  page.counted = false;
  greatest = 1;
  if (isFruit) page.exact = qStar(G, settings.gamma);
  const how = { settings: { ...settings }, weights: from };
  worker.postMessage({ begin: { layers: LAYERS, shape, game: name, gridSize, ...how } });
  if (goal > 0) worker.postMessage({ goal });
  showTraining();
}

function endLearning() {
  page.live.worker.terminate();
  page.live = null;
  page.scores.delete("live");
  Object.assign(settings, run.settings);
  showSettings();
  setMoment(page.moment);
}

function setGoal(goal) {
  page.live.goal = goal;
  page.live.worker.postMessage({ goal });
  showTraining();
}

function learningNow() {
  return page.live !== null && page.live.finite && page.live.goal > page.live.epoch;
}

// What the Worker says: weights, and how it goes. Everything is shown with these weights.
function takeReport(worker, report) {
  const { live } = page, { epoch, updates, finite, updatesPerSecond } = report;
  if (live?.worker !== worker) return; // of a learning that was ended
  Object.assign(live, { epoch, updates, finite, loss: report.loss ?? live.loss });
  const share = live.rate > 0 ? 0.2 : 1; // of what is new, so that the number is calm
  if (updatesPerSecond > 0) live.rate += (updatesPerSecond - live.rate) * share;
  live.points.push(...report.points);
  useWeights(report.weights);
  showTraining(report.points.length > 0 || !learningNow());
  render();
}

// What is shown

// A point of the curve: the share of starts won or the mean return, the error, and the loss.
function pointOf({ epoch, wins, meanReturn, qError, loss }) {
  const value = run.starts ? wins / run.starts : meanReturn;
  return { epoch, value, error: qError ?? null, loss: loss ?? null };
}

function curvePoints() {
  if (page.live) return page.live.points.map(pointOf);
  const recorded = run.curve.map(([epoch, measure, qError, loss]) =>
    pointOf({ epoch, wins: measure, meanReturn: measure, qError, loss }));
  const first = run.moments[0];
  return first.epoch === 0 ? [pointOf(first), ...recorded] : recorded;
}

// The point that is shown: of the moment, or the newest of the learning.
function pointNow() {
  return page.live ? curvePoints().at(-1) : pointOf(run.moments[page.moment]);
}

// The curve is drawn anew only if it has changed, which takes longer than the words.
function showTraining(curveToo = true) {
  const { live } = page;
  byId("kept").hidden = live !== null;
  byId("live").hidden = byId("tested").hidden = live === null;
  byId("go").textContent = learningNow() ? "Pause" : "Go on";
  byId("go").disabled = byId("once").disabled = live?.finite === false;
  byId("reset").disabled = live === null;
  if (live) {
    byId("live").textContent = liveWords();
    byId("tested").textContent = `An epoch is a game. Tested at epoch ${pointNow()?.epoch ?? 0}:`;
  } else {
    byId("moment-name").textContent = momentWords();
    byId("moment").setAttribute("aria-valuetext", momentWords());
  }
  byId("moment-facts").textContent = factWords(pointNow());
  if (!curveToo) return;
  showKey();
  showCurve();
}

function liveWords() {
  const { epoch, updates, rate, finite, goal } = page.live;
  if (!finite)
    return "The loss is no number any more. A smaller learning rate would help.";
  let pace = goal > 0 && epoch >= goal ? "done" : "paused";
  if (learningNow()) pace = updates > 0 ? `${Math.round(rate)} a second` : "filling its memory";
  return `Epoch ${epoch}, ${updates} update${updates === 1 ? "" : "s"}, ${pace}`;
}

function momentWords() {
  const { epoch } = run.moments[page.moment];
  if (epoch === 0) return "untrained";
  if (epoch < run.epochs) return `epoch ${epoch} of ${run.epochs}`;
  return `epoch ${epoch}, ${run.updates > 0 ? "trained" : "not trained yet"}`;
}

function factWords(point) {
  if (!point) return "";
  const { value, error } = point;
  if (!isFruit) return `Mean return ${Number.isFinite(value) ? signed(value) : "not measured"}`;
  const distance = Number.isFinite(error) ? error.toFixed(3) : "is no number";
  const wins = Math.round(value * run.starts);
  return `Wins ${wins} of ${run.starts} starts; mean |Q \u2212 Q*| ${distance}`;
}

// What the lines and marks of the curve are.
function showKey() {
  const loss = page.live?.loss ? ` ${page.live.loss.toPrecision(2)}` : "";
  const key = { value: isFruit ? "wins" : "mean return" };
  if (isFruit) key.error = "|Q \u2212 Q*|";
  key.loss = `loss${loss} (right)`;
  if (!page.live) key.kept = "kept";
  byId("curve-key").replaceChildren(...Object.entries(key).map(([kind, words]) => {
    const span = document.createElement("span"), swatch = document.createElement("i");
    swatch.className = `swatch ${kind}`;
    span.append(swatch, words);
    return span;
  }));
}

// The learning curve, in pixels of its own size so that letters are not stretched. Left: the share
// of starts won, or the mean return; right: the loss, by powers of ten.
function showCurve() {
  const curve = byId("curve"), width = curve.clientWidth, height = curve.clientHeight;
  const points = curvePoints(), now = pointNow(), { live } = page;
  const letter = parseFloat(getComputedStyle(byId("unit")).fontSize); // the labels' height
  const left = 2.7 * letter, right = width - 3.6 * letter, top = 10, bottom = height - 38;
  const end = live ? Math.max(live.goal, live.epoch, PATIENCE) : run.epochs;
  const x = (epoch) => left + (right - left) * epoch / end;
  const scale = (low, high) => (value) =>
    bottom - (bottom - top) * clamp((value - low) / (high - low), 0, 1);
  const [low, high] = isFruit ? [0, 1] : ends(points.map(({ value }) => value), 0, 1);
  const powers = ends(points.map(({ loss }) => Math.log10(loss)), -3, -1);
  const y = scale(low, high), ofPower = scale(...powers);
  curve.replaceChildren();
  curve.setAttribute("viewBox", `0 0 ${width} ${height}`);
  for (const value of [low, (low + high) / 2, high]) {
    svg("path", { d: `M${left} ${y(value)}H${right}`, class: "grid" }, curve);
    const whole = Number.isInteger(value) || Math.abs(value) >= 10;
    const words = signed(value, whole ? 0 : 1);
    svg("text", { x: left - 6, y: y(value) + 5, class: "tick end" }, curve, words);
  }
  for (const power of powers) {
    const words = `1e${signed(power, 0)}`;
    svg("text", { x: right + 9, y: ofPower(power) + 5, class: "tick loss" }, curve, words);
  }
  const half = Math.round(end / 2), between = half < end ? (half + end) / 2 : 0.75 * end;
  const ticks = [[0, left], ["epoch", x(between)], [end, right]];
  if (half > 0 && half < end) ticks.splice(1, 0, [half, x(half)]);
  for (const [words, at] of ticks)
    svg("text", { x: at, y: bottom + 24, class: "tick middle" }, curve, words);
  const lines = { loss: ({ loss }) => ofPower(Math.log10(loss)), value: ({ value }) => y(value) };
  if (isFruit) lines.error = ({ error }) => y(error);
  for (const [kind, of] of Object.entries(lines)) {
    const known = points.filter((point) => Number.isFinite(point[kind]));
    const places = known.map((point) => `${x(point.epoch)},${of(point)}`);
    svg("polyline", { points: places.join(" "), class: kind }, curve);
  }
  for (const [place, { epoch }] of live ? [] : run.moments.entries()) {
    const chosen = place === page.moment, at = x(epoch), mark = `M${at} ${bottom + 1}l-5 9h10z`;
    if (chosen) svg("path", { d: `M${at} ${top}V${bottom}`, class: "now" }, curve);
    svg("path", { d: mark, class: chosen ? "moment now" : "moment" }, curve);
  }
  if (Number.isFinite(now?.value))
    svg("circle", { cx: x(now.epoch), cy: y(now.value), r: 5, class: "value" }, curve);
  if (isFruit && Number.isFinite(now?.error)) {
    const square = { x: x(now.epoch) - 4.5, y: y(now.error) - 4.5, width: 9, height: 9 };
    svg("rect", { ...square, class: "error" }, curve);
  }
  const what = isFruit ? "share of starts won, and mean distance from the exact values"
    : "mean return";
  curve.setAttribute("aria-label",
    `Learning curve over ${end} epochs: ${what}; and the loss. Now at epoch ${now?.epoch ?? 0}.`);
}

// Whole numbers around some, at least those that are given.
function ends(numbers, least, most) {
  const known = numbers.filter(Number.isFinite);
  return [Math.floor(Math.min(least, ...known)), Math.ceil(Math.max(most, ...known))];
}
