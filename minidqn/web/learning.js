// Learning: memory, targets, update rule and loop, each as its counterpart in Python that is named
// above it; and the Web Worker that runs them beside the page.

// Chances. The generator is xoshiro128** of Blackman and Vigna (2018), *Scrambled Linear
// Pseudorandom Number Generators*. Its four words are the first four of SplitMix32, the 32-bit
// mixer of MurmurHash3 over a counter that starts at the seed and grows by 0x9e3779b9. The same
// seed gives the same numbers in every browser.
class Random {
  constructor(seed) {
    this.words = Uint32Array.from([1, 2, 3, 4], (n) => {
      let z = seed + Math.imul(n, 0x9e3779b9);
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      return z ^ (z >>> 16);
    });
  }

  // The next 32 bits, a whole number.
  next() {
    const s = this.words, rotate = (x, k) => (x << k) | (x >>> (32 - k));
    const result = Math.imul(rotate(Math.imul(s[1], 5), 7), 9) >>> 0, t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 11);
    return result;
  }

  // Uniform in [0, 1).
  random() {
    return this.next() / 2 ** 32;
  }

  // A whole number from 0 to n - 1, each as likely as any other but for n / 2**32.
  integers(n) {
    return Math.floor(this.random() * n);
  }

  // So many different ones of these, every set as likely as any other (Floyd 1987).
  choice(n, count) {
    const chosen = new Set();
    for (let j = n - count; j < n; j++) {
      const one = this.integers(j + 1);
      chosen.add(chosen.has(one) ? j : one);
    }
    return Array.from(chosen);
  }
}

// As initial_weights in minidqn/nn/layers.py.
// Glorot and Bengio (2010): kernels uniform in +-sqrt(6 / (inputs + outputs)), biases 0.
function initialize(engine, random) {
  engine.parameters.fill(0);
  for (const { shape, data } of Object.values(engine.named())) {
    if (shape.length === 1) continue;
    const outputs = shape[shape.length - 1], inputs = shape[shape.length - 2];
    const taps = data.length / (inputs * outputs);
    const limit = Math.sqrt(6 / (taps * (inputs + outputs)));
    for (let i = 0; i < data.length; i++) data[i] = limit * (2 * random.random() - 1);
  }
}

// As numpy.argmax.
// The place of the greatest number, the first of them if there are several; or of the first NaN.
function argmax(numbers) {
  const greatest = Math.max(...numbers);
  return numbers.findIndex((number) => number === greatest || Number.isNaN(number));
}

// As greedy in minidqn/qlearning.py.
// The action with the greatest Q-value.
function greedy(q, actions) {
  return actions[argmax(q)];
}

// As epsilon_greedy in minidqn/qlearning.py.
// At random with probability epsilon, else the best.
function epsilonGreedy(engine, S, epsilon, random, actions) {
  if (random.random() < epsilon) return actions[random.integers(actions.length)];
  return greedy(engine.predict([S])[0], actions);
}

// As experience_replay in minidqn/replay.py.
// A memory of the last experiences, [S, action, reward, S_prime, done], as a coroutine: next()
// once, then next(experience) stores one, and yields a batch drawn without replacement, or null
// while there are too few. The batch size may change while it runs. Frames are nodes, one for each
// distinct frame.
function* experienceReplay(settings, random) {
  const memory = [];
  let oldest = 0, batch = null;
  while (true) {
    const experience = yield batch;
    if (memory.length < settings.capacity) memory.push(experience);
    else {
      memory[oldest] = experience;
      oldest = (oldest + 1) % memory.length;
    }
    const size = Math.min(settings.batchSize, settings.capacity);
    batch = null;
    if (memory.length >= size)
      batch = random.choice(memory.length, size).map((place) => memory[place]);
  }
}

// As learn in minidqn/qlearning.py, with td_targets and the mean squared error.
// One learning step; the loss before it.
//
// target = reward + gamma * max over a' of Q(S_prime, a'), where a game goes on
// loss = mean over batch and actions of (Q - target)**2, where target is Q but for the action
function learn(engine, optimizer, batch, gamma, actions) {
  const goesOn = batch.filter(([, , , , done]) => !done), A = actions.length;
  const frames = [...batch.map(([S]) => S), ...goesOn.map(([, , , S_prime]) => S_prime)];
  const q = engine.forward(frames, batch.length), size = batch.length * A;
  const gradient = new Float32Array(engine.learned * A);
  let loss = 0;
  for (const [S, action, reward, S_prime, done] of batch) {
    let target = reward;
    if (!done) target += gamma * Math.max(...q.subarray(S_prime.row * A, (S_prime.row + 1) * A));
    const place = S.row * A + actions.indexOf(action), error = q[place] - target;
    loss += error * error / size;
    gradient[place] += 2 * error / size; // where a frame comes twice, both count
  }
  engine.backward(gradient);
  optimizer.update(engine.parameters, engine.gradients);
  return loss;
}

const SMALLEST = 2 ** -126; // of the float32 that have all their digits; smaller ones are slow

// As RMSprop in minidqn/nn/optimizers.py.
//
// v = rho * v + (1 - rho) * g**2,  w -= learning_rate * g / (sqrt(v) + epsilon)
class RMSprop {
  constructor(settings, size) {
    this.settings = settings; // the learning rate may change while it runs
    this.v = new Float32Array(size);
  }

  update(w, g) {
    const { learningRate } = this.settings, { v } = this, rho = 0.9, epsilon = 1e-8;
    for (let p = 0; p < w.length; p++) {
      const square = rho * v[p] + (1 - rho) * g[p] * g[p];
      v[p] = square < SMALLEST ? 0 : square;
      w[p] -= learningRate * g[p] / (Math.sqrt(v[p]) + epsilon);
    }
  }
}

const GAMES = { fruit: FRUIT, snake: SNAKE };
const EVAL_EVERY = 10, EVAL_GAMES = 20; // epochs, and games where wins cannot be counted

// As measured in minidqn/train.py, with greedy_games in minidqn/evaluate.py.
// How well a network plays: wins and distance from Q* for Fruit, else the mean return of games,
// which are the same each time, and are played side by side.
function evaluate(engine, game, gridSize, { gamma, seed }) {
  if (game === FRUIT) return evaluateFruit(engine, gridSize, gamma);
  const random = new Random(seed ^ 0x7e57); // other chances than those of the training
  const goesOn = ({ turn }) => !turn.terminated && !turn.truncated;
  let sum = 0, games = Array.from({ length: EVAL_GAMES }, () => {
    const ep = game.begin(gridSize, random);
    return { ep, turn: ep.next().value };
  });
  while (games.length > 0) {
    const q = engine.predict(games.map(({ turn }) => engine.scan(turn.frame)));
    for (const [n, each] of games.entries()) {
      each.turn = each.ep.next(greedy(q[n], game.actions)).value;
      sum += each.turn.reward;
    }
    games = games.filter(goesOn);
  }
  return { meanReturn: sum / EVAL_GAMES };
}

// As training in minidqn/train.py.
// The loop, as a generator that yields after each learning step, and after each step of a game in
// which there is nothing to learn from yet: counts, the loss or null, and every EVAL_EVERY epochs
// how well the network plays. Settings may change while it runs.
function* training(engine, game, gridSize, settings, random) {
  const optimizer = new RMSprop(settings, engine.parameters.length);
  const replay = experienceReplay(settings, random);
  replay.next(); // it now waits for the first step
  let updates = 0;
  for (let epoch = 1; ; epoch++) {
    const ep = game.begin(gridSize, random);
    let turn = ep.next().value, S = engine.scan(turn.frame);
    while (!turn.terminated && !turn.truncated) {
      const action = epsilonGreedy(engine, S, settings.epsilon, random, game.actions);
      turn = ep.next(action).value;
      const S_prime = engine.scan(turn.frame);
      const batch = replay.next([S, action, turn.reward, S_prime, turn.terminated]).value;
      S = S_prime;
      let loss = null;
      if (batch) {
        loss = learn(engine, optimizer, batch, settings.gamma, game.actions);
        updates += 1;
      }
      const ended = turn.terminated || turn.truncated;
      const due = ended && epoch % EVAL_EVERY === 0;
      const measured = due ? evaluate(engine, game, gridSize, settings) : null;
      yield { epoch: ended ? epoch : epoch - 1, updates, loss, measured };
    }
  }
}

const SLICE = 25; // milliseconds of learning, before the Worker looks for what the page says
const REPORT = 100; // and between two answers

// In the Worker. The page says {begin: what to learn and how, with weights or without},
// {settings} to change some, {goal} to learn until that epoch has ended, 0 to pause, and {step} for
// one learning step. The answers are the weights, and how it goes.
function serve() {
  const { port1, port2 } = new MessageChannel(); // a queue without the wait of setTimeout
  let begun, engine, settings, loop, now, goal = 0, finite = true;
  let points = [], updates = 0, loss = 0, reported = 0; // since the last answer
  let sum = 0, count = 0, tested = null; // losses since the network was tested, and when that was

  const learning = () => finite && now.epoch < goal;

  function advance() {
    now = loop.next().value;
    if (now.loss !== null) {
      updates += 1;
      loss += now.loss;
      sum += now.loss;
      count += 1;
      finite = Number.isFinite(now.loss);
    }
    if (now.measured) keep(now.measured);
  }

  // A point of the curve.
  function keep(measured) {
    points.push({ epoch: now.epoch, ...measured, loss: count > 0 ? sum / count : null });
    sum = count = 0;
    tested = now;
  }

  function report() {
    if (!learning() && tested !== now) // what stays on the page is tested
      keep(evaluate(engine, GAMES[begun.game], begun.gridSize, settings));
    const weights = engine.parameters.slice(), seconds = (performance.now() - reported) / 1000;
    postMessage({
      weights, points, finite, epoch: now.epoch, updates: now.updates,
      loss: updates > 0 ? loss / updates : null, updatesPerSecond: updates / seconds,
    }, [weights.buffer]);
    [points, updates, loss, reported] = [[], 0, 0, performance.now()];
  }

  port2.onmessage = () => {
    const until = performance.now() + SLICE;
    while (learning() && performance.now() < until) advance();
    if (!learning() || performance.now() - reported > REPORT) report();
    if (learning()) port1.postMessage(null);
  };

  onmessage = ({ data }) => {
    if (data.begin) {
      begun = data.begin;
      settings = begun.settings;
      engine = new Engine(begun.layers, begun.shape);
      const random = new Random(settings.seed);
      if (begun.weights) engine.parameters.set(begun.weights);
      else initialize(engine, random);
      loop = training(engine, GAMES[begun.game], begun.gridSize, settings, random);
      now = { epoch: 0, updates: 0 };
      report();
    }
    if (data.settings) Object.assign(settings, data.settings);
    if (data.step) {
      const before = now.updates;
      while (finite && now.updates === before) advance();
      report();
    }
    if (data.goal !== undefined) {
      const idle = !learning();
      goal = data.goal;
      if (!idle || !learning()) return;
      reported = performance.now();
      port1.postMessage(null);
    }
  };
}
