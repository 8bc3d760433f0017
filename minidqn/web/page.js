// What a visitor sees and does. `page` holds all that changes; `render` shows it. In the
// browser's console one can ask the network: page.engine.predict([page.engine.scan(page.game.S)]).

const run = JSON.parse(byId("run").textContent);
const G = run.game.gridSize; // null if the game has no JavaScript: then games were recorded
const GAME = G ? GAMES[run.game.name] : undefined;
const ACTIONS = run.game.actions;
const NAMES = GAME?.names ?? ACTIONS.map((action) => `action ${signed(action, 0)}`);
const isFruit = GAME === FRUIT;
const [, HEIGHT, WIDTH] = run.game.shape;
const LARGEST = 40; // grid on which a network learns here: its test takes a minute on one of 84
const LAST_ROW = G - 3; // of Fruit: the last row of the fruit with an action to choose
const LAYERS = run.layers.map(({ name, relu }) => ({
  name, relu, kernel: run.moments.at(-1).weights[`${name}/kernel`].shape,
}));
const CONVOLUTIONS = LAYERS.filter(({ kernel }) => kernel.length === 4).map(({ name }) => name);
const ARROWS = {
  ArrowLeft: "\u2190", ArrowRight: "\u2192", ArrowUp: "\u2191", ArrowDown: "\u2193",
};
const TOUCH = matchMedia("(pointer: coarse)").matches;

const page = {
  engine: null, // with the weights that are shown
  moment: run.moments.length - 1, // the place of the recorded weights that are shown
  live: null, // the learning in this page, or null
  version: 0, // of the weights that are shown, counted
  game: null, // the one on the board; of Fruit, the network's
  person: null, // of Fruit: the person's on the same fall, or null
  byHand: false, // of other games: whether a person plays
  placed: false, // whether pieces were put somewhere in this game
  counted: true, // whether the game will count: no piece, moment or player was changed in it
  playing: !matchMedia("(prefers-reduced-motion: reduce)").matches,
  unit: null, // of a feature map: {layer, map, i, j}, whose receptive field is shown
  scores: new Map(), // by moment, or "live"
  exact: null, // Q*, of Fruit
  q: null, // Q of the frame that is shown
  outputs: null, // what every layer makes of it
  chances: new Random(crypto.getRandomValues(new Uint32Array(1))[0]), // of the games on the board
};
const weights = []; // of each moment, as they are unpacked
const recorded = []; // games
let timer = null;

function byId(id) {
  return document.getElementById(id);
}

function clamp(number, least, most) {
  return Math.min(Math.max(number, least), most);
}

function signed(number, digits = 2) {
  const words = Math.abs(number) > 1e4 ? number.toPrecision(3) : number.toFixed(digits);
  return words.replace(/^-(?=[0.]*$)/, "").replace("-", "\u2212"); // what rounds to 0 has no sign
}

// The game

// A game of Fruit that has come to some row of the fruit.
class FruitGame {
  constructor([fruit, basket], row = 0) {
    this.fruit = fruit;
    this.basket = basket;
    this.row = 0;
    this.ep = fruitEpisode(G, [fruit, basket]);
    this.take(this.ep.next().value);
    while (this.row < row) this.step(0);
  }

  take({ frame, reward, terminated }) {
    this.S = frame;
    this.reward = reward;
    this.over = terminated;
  }

  step(action) {
    this.take(this.ep.next(action).value);
    this.row += 1;
    this.basket = moved(G, this.basket, action);
  }
}

// Any other game that the page can play.
class PlayedGame {
  constructor() {
    this.ep = GAME.begin(G, page.chances);
    this.sum = 0;
    this.take(this.ep.next().value);
  }

  take({ frame, reward, terminated, truncated }) {
    this.S = frame;
    this.reward = reward;
    this.sum += reward;
    this.over = terminated || truncated;
  }

  step(action) {
    this.take(this.ep.next(action).value);
  }
}

// A game that was recorded, at some step.
class RecordedGame {
  constructor(number) {
    this.number = number;
    this.at = 0;
    this.sum = 0;
    this.take();
  }

  take() {
    const { frames, pictures, rewards, cut } = recorded[this.number];
    const one = (array) => {
      const size = array.length / rewards.length;
      return array.subarray(this.at * size, (this.at + 1) * size);
    };
    this.S = { shape: run.game.shape, data: one(frames) };
    this.picture = pictures && one(pictures);
    if (this.at > 0) this.sum += rewards[this.at]; // the first is no action's
    this.reward = rewards[this.at];
    this.over = this.at === rewards.length - 1;
    this.cut = cut;
  }

  step() {
    this.at += 1;
    this.take();
  }
}

// Begin a game; of Fruit against a person, both begin at the same place.
function newGame(start = null, duel = page.person !== null) {
  page.placed = false;
  page.counted = GAME !== undefined || page.moment === run.moments.length - 1; // who was recorded
  if (isFruit) {
    start ??= randomStart(G, page.chances);
    page.game = new FruitGame(start);
    page.person = duel ? new FruitGame(start) : null;
    say(duel ? "Your move: \u2190 \u2193 \u2192" : "");
  } else if (GAME) {
    page.game = new PlayedGame();
    say(page.byHand ? `Your move: ${GAME.keys.map((key) => ARROWS[key]).join(" ")}` : "");
  } else {
    page.game = new RecordedGame(page.game ? (page.game.number + 1) % recorded.length : 0);
    say("");
  }
  render();
}

// One step of the network or, by hand, of the person; in a duel, of both on the same fall.
function step(personAction = ACTIONS[0]) {
  const action = page.byHand ? personAction : greedy(page.q, ACTIONS);
  page.game.step(action);
  if (page.person) page.person.step(personAction);
  if (page.game.over) finish();
  else if (page.person) sayPlaces();
  else if (!isFruit) sayStep(action);
  render();
}

function sayPlaces() {
  const { row, fruit, basket } = page.game;
  say(`Row ${row}: fruit column ${fruit}, you ${page.person.basket}, network ${basket}.`);
}

// Rewards of the page's own games are whole numbers.
function earnings(sum) {
  return signed(sum, GAME ? 0 : 2);
}

function sayStep(action) {
  const { number, at, reward, sum } = page.game, who = page.byHand ? "You" : "It";
  const earned = reward === 0 ? "" : `, reward ${earnings(reward)}`;
  const did = GAME ? `${who} went ${NAMES[ACTIONS.indexOf(action)]}`
    : `Game ${number + 1} of ${recorded.length}, step ${at}`;
  say(`${did}${earned}; return ${earnings(sum)}`);
}

// What the network of this moment, and the person against it, have done so far.
function score() {
  const key = page.live ? "live" : page.moment;
  if (!page.scores.has(key))
    page.scores.set(key, { alone: [0, 0], network: 0, you: 0, duels: 0, yours: [0, 0] });
  return page.scores.get(key);
}

// A game has ended: count it, and say how.
function finish() {
  const scores = score(), { reward, sum } = page.game;
  let words;
  if (isFruit) {
    const did = (won) => (won ? "caught" : "missed"), caught = reward > 0;
    words = caught ? "Caught." : "Missed.";
    if (page.person)
      words = `You ${did(page.person.reward > 0)} it; the network ${did(caught)} it.`;
    if (page.person && page.counted) {
      scores.network += caught;
      scores.you += page.person.reward > 0;
      scores.duels += 1;
    } else if (page.counted) {
      scores.alone[0] += caught;
      scores.alone[1] += 1;
    }
  } else {
    words = page.game.cut ? `Not recorded further; return ${earnings(sum)} so far.`
      : `The end: return ${earnings(sum)}.`;
    const one = page.byHand ? scores.yours : scores.alone;
    if (page.counted) {
      one[0] += sum;
      one[1] += 1;
    }
  }
  say(page.counted ? words : `${words} Not counted.`);
}

function say(words) {
  byId("result").textContent = words;
  const why = "A piece, the network or the player was changed in it.";
  byId("result").title = page.counted ? "" : why;
}

// Put the pieces of Fruit somewhere; the game goes on from there, but does not count.
function place(fruit, row, basket) {
  setPlaying(false);
  row = clamp(row, 0, LAST_ROW);
  const other = page.person && page.person.basket;
  page.game = new FruitGame([clamp(fruit, 0, G - 1), clamp(basket, 1, G - 2)], row);
  if (page.person) page.person = new FruitGame([page.game.fruit, other], row);
  page.counted = false;
  page.placed = true;
  say("");
  render();
}

// A move of the person. The first begins a game, against the network in Fruit, where pieces that
// were put somewhere stay there; so does one after a game's end, so that its beginning is seen
// before the first move.
function personMoves(action) {
  setPlaying(false);
  const playing = isFruit ? page.person !== null : page.byHand;
  page.byHand = !isFruit;
  if (isFruit && !playing && page.placed && !page.game.over) {
    const { fruit, basket, row } = page.game;
    page.person = new FruitGame([fruit, basket], row);
    say("Your move: \u2190 \u2193 \u2192");
    render();
  } else if (!playing || page.game.over) newGame(null, isFruit);
  else step(action);
}

// What the clock does, or the button Step: the network plays alone. A person who was playing
// leaves, and the game that they had begun is not counted.
function networkMoves() {
  const left = (page.person !== null || page.byHand) && !page.game.over;
  page.person = null;
  page.byHand = false;
  if (page.game.over) newGame();
  else {
    if (left) page.counted = false;
    step();
    if (left && !page.game.over) say("You left; this game is not counted.");
  }
}

function setPlaying(playing) {
  page.playing = playing;
  clearTimeout(timer);
  byId("play").textContent = playing ? "Pause" : "Play";
  // Steps of the network alone are not read aloud: they never end.
  byId("result").setAttribute("aria-live", playing ? "off" : "polite");
  if (playing) schedule();
}

function showSpeed() {
  const steps = byId("speed").valueAsNumber;
  const words = `${steps} step${steps === 1 ? "" : "s"} a second`;
  byId("speed").setAttribute("aria-valuetext", words);
}

function schedule() {
  const interval = 1000 / byId("speed").valueAsNumber;
  const held = page.game.over ? 3 : 1; // the end of a game is shown longer
  timer = setTimeout(() => {
    networkMoves();
    schedule();
  }, held * interval);
}

// What is shown

function render() {
  page.outputs = page.engine.layerOutputs(page.game.S);
  page.q = Array.from(Object.values(page.outputs).at(-1).data);
  showBoard();
  showBars();
  for (const layer of CONVOLUTIONS) showFeatures(layer);
  showUnit();
  showScores();
  showMaps();
}

// Other weights: everything is computed anew from them.
function useWeights(array) {
  page.engine.parameters.set(array);
  page.version += 1;
  showFilters();
}

function showScores() {
  const { alone, network, you, duels, yours } = score();
  const mean = ([sum, games]) => (games > 0 ? signed(sum / games) : "\u2013");
  const cells = isFruit
    ? [`${alone[0]} of ${alone[1]}`, `${network} of ${duels}`, "", `${you} of ${duels}`]
    : [alone[1], mean(alone), yours[1], mean(yours)];
  ["alone", "network", "games", "you"].forEach((name, n) => {
    byId(`score-${name}`).textContent = cells[n];
  });
}

// Visitors

function keyPressed(event) {
  const move = GAME ? GAME.keys.indexOf(event.key) : -1;
  const withOthers = event.ctrlKey || event.altKey || event.metaKey;
  if (move < 0 || withOthers || event.target.closest("input, select")) return;
  const onControl = event.target !== document.body, playing = page.person !== null || page.byHand;
  if (isFruit && event.key === "ArrowDown" && !playing && onControl) return; // it scrolls
  event.preventDefault();
  personMoves(ACTIONS[move]);
}

function listen() {
  byId("play").addEventListener("click", () => setPlaying(!page.playing));
  byId("step").addEventListener("click", () => { setPlaying(false); networkMoves(); });
  byId("new").addEventListener("click", () => newGame());
  byId("speed").addEventListener("input", () => { showSpeed(); setPlaying(page.playing); });
  document.addEventListener("keydown", keyPressed);
  byId("moment").addEventListener("input", (event) => setMoment(event.target.valueAsNumber));
  byId("map-row").addEventListener("input", showMaps);
  const redraw = () => { showTraining(); showFilters(); render(); };
  addEventListener("resize", redraw);
  new ResizeObserver(showCurve).observe(byId("curve"));
  for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"])
    matchMedia(query).addEventListener("change", redraw);
}

// Words, buttons and tables that are another run's or game's.
function buildPage() {
  byId("run-name").textContent = byId("run-name").title = run.name; // a long one is shown in part
  const epochs = `${run.epochs} epoch${run.epochs === 1 ? "" : "s"}`;
  const grid = G ? `${G} \u00d7 ${G} grid, ` : "";
  const { gamma } = run.settings;
  byId("about").textContent = `\u00b7 ${run.game.name}, ${grid}${epochs}, \u03b3 = ${gamma}`;
  byId("course").textContent = "The course is docs/ in minidqn";
  if (run.course) {
    const link = Object.assign(document.createElement("a"), { href: run.course });
    link.textContent = "The course";
    byId("course").replaceChildren(link);
  }
  const reward = {
    fruit: " (1: caught, \u22121: missed)", snake: " (food: 1, crash: \u22121)",
  }[run.game.name] ?? "";
  const tryIt = {
    fruit: "Drag a piece to see it think, or let it learn anew.",
    snake: "Play it (head blue, body orange, food green), or let it learn anew.",
  }[run.game.name] ?? "These games were recorded.";
  const game = { fruit: "Catch the fruit! ", snake: "Eat! " }[run.game.name] ?? "";
  byId("intro").textContent = `${game}For each action the network says what reward it expects, Q`
    + `${reward}, and takes the greatest. ${tryIt}`;
  byId("board").setAttribute("aria-label", isFruit
    ? "The board: drag the fruit or the basket, or move them with the arrow keys" : "The board");
  for (const element of document.querySelectorAll(".fruit")) element.hidden = !isFruit;
  document.body.classList.toggle("other", !isFruit);
  byId("learn").hidden = !GAME || G > LARGEST;
  byId("moves").hidden = !GAME;
  if (GAME) {
    const label = document.createElement("span");
    label.textContent = isFruit ? "You play:" : "You:";
    label.className = "grow";
    byId("moves").append(label, ...[...GAME.keys.entries()].map(([n, key]) => {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", className: "move" });
      button.textContent = `${ARROWS[key]} ${NAMES[n]}`;
      button.dataset.action = ACTIONS[n];
      const said = isFruit ? `Move your basket: ${NAMES[n]}` : `Go ${NAMES[n]}`;
      button.setAttribute("aria-label", said);
      button.addEventListener("click", () => personMoves(ACTIONS[n]));
      return button;
    }));
  }
  const [caption, ...heads] = isFruit
    ? ["Games caught, with the network of this moment", "Caught", "alone", "against you"]
    : ["Games and returns, with the network of this moment", "Played", "games", "mean return"];
  byId("scores").caption.textContent = caption;
  heads.forEach((words, n) => { byId("scores").tHead.rows[0].cells[n].textContent = words; });
  if (!GAME) byId("scores").tBodies[0].rows[1].hidden = true;
  if (isFruit)
    for (const row of ["game", ...Array(G - 2).keys()])
      byId("map-row").append(new Option(row === "game" ? "the game's row" : `row ${row}`, row));
  byId("moment").max = run.moments.length - 1;
  byId("moment").disabled = run.moments.length === 1;
  byId("moment").value = page.moment;
}

// A moment's weights in one array, as the engine has them.
async function unpack(moment) {
  const parts = await Promise.all(run.layers.flatMap(({ name }) => [
    decode(moment.weights[`${name}/kernel`]), decode(moment.weights[`${name}/bias`])]));
  const array = new Float32Array(parts.reduce((sum, { data }) => sum + data.length, 0));
  parts.reduce((begin, { data }) => { array.set(data, begin); return begin + data.length; }, 0);
  return array;
}

async function begin() {
  if (!globalThis.DecompressionStream) {
    byId("intro").textContent = "This page needs a browser of 2023 or later.";
    return;
  }
  weights.push(...await Promise.all(run.moments.map(unpack)));
  for (const { frames, pictures, ...rest } of run.recorded ?? [])
    recorded.push({
      ...rest, frames: new Float32Array((await inflate(frames)).buffer),
      pictures: pictures && new Uint8Array((await inflate(pictures)).buffer),
    });
  page.engine = new Engine(LAYERS, run.game.shape);
  buildPage();
  buildBoard();
  buildBars();
  buildFeatures();
  buildLearning();
  listen();
  setMoment(page.moment, false);
  newGame();
  showSpeed();
  setPlaying(page.playing);
  document.body.dataset.ready = "";
}
