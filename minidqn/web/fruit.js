// The game of Fruit, as in minidqn/fruit.py, and its exact values, as in minidqn/exact.py.

const FRUIT = {
  actions: [-1, 0, 1], // columns that the basket moves in one step
  names: ["left", "stay", "right"],
  keys: ["ArrowLeft", "ArrowDown", "ArrowRight"],
  begin: (gridSize, random) => fruitEpisode(gridSize, randomStart(gridSize, random)),
};

// A start, [fruit column, basket's centre], each as likely as any other.
function randomStart(gridSize, random) {
  return [random.integers(gridSize), 1 + random.integers(gridSize - 2)];
}

// As draw in minidqn/fruit.py.
// One frame: zeros, and ones for the fruit and the three pixels of the basket.
function drawFruit(gridSize, fruitRow, fruitColumn, basket) {
  const data = new Float32Array(gridSize * gridSize);
  data[fruitRow * gridSize + fruitColumn] = 1;
  data.fill(1, (gridSize - 1) * gridSize + basket - 1, (gridSize - 1) * gridSize + basket + 2);
  return { shape: [1, gridSize, gridSize], data };
}

// As the last line of _fall in minidqn/fruit.py.
// Where the basket's centre is after an action: the walls hold it.
function moved(gridSize, basket, action) {
  return Math.min(Math.max(basket + action, 1), gridSize - 2);
}

// As episode in minidqn/fruit.py.
// One game, as a generator: the coroutine of Python. ep.next() draws the first frame,
// ep.next(action) plays one step, and what both return has a turn in it, as Turn in
// minidqn/games.py. A reward that is not 0 comes with the last frame.
function* fruitEpisode(gridSize, [fruitColumn, basket]) {
  for (let fruitRow = 0; fruitRow < gridSize - 1; fruitRow++) {
    const terminated = fruitRow === gridSize - 2, caught = Math.abs(fruitColumn - basket) <= 1;
    const frame = drawFruit(gridSize, fruitRow, fruitColumn, basket);
    let reward = 0;
    if (terminated) reward = caught ? 1 : -1;
    const action = yield { frame, reward, terminated, truncated: false };
    basket = moved(gridSize, basket, action);
  }
}

// As q_star in minidqn/exact.py.
// Q*: the return of each action when all later actions are the best. Every step takes the
// fruit one row down, so one sweep from the last row up solves Bellman's equation:
//
// Q*(row, fruit, basket, a) = reward where the step ends the game, else
//                             gamma * max over a' of Q*(row + 1, fruit, basket', a')
//
// with basket' the basket after action a. The answer is indexed [row][fruit][basket - 1][a + 1].
function qStar(gridSize, gamma) {
  const q = new Array(gridSize - 2);
  for (let row = gridSize - 3; row >= 0; row--)
    q[row] = table(gridSize, (fruit, basket) => FRUIT.actions.map((action) => {
      const after = moved(gridSize, basket, action);
      if (row === gridSize - 3) return Math.abs(fruit - after) <= 1 ? 1 : -1;
      return gamma * Math.max(...q[row + 1][fruit][after - 1]);
    }));
  return q;
}

// What a function of (fruit column, basket) gives for each: [fruit][basket - 1].
function table(gridSize, of) {
  return Array.from({ length: gridSize }, (_, fruit) =>
    Array.from({ length: gridSize - 2 }, (__, place) => of(fruit, place + 1)));
}

// As q_table in minidqn/evaluate.py.
// Q of a network for all states with the fruit in one row, indexed [fruit][basket - 1][a + 1].
function qTable(engine, gridSize, row) {
  const frames = table(gridSize, (fruit, basket) =>
    engine.scan(drawFruit(gridSize, row, fruit, basket)));
  const q = engine.predict(frames.flat());
  return frames.map((baskets) => baskets.map(() => q.shift()));
}

// As wins and q_error in minidqn/evaluate.py.
// How many starts greedy play wins, and the mean of |Q - Q*| over all states and actions.
function evaluateFruit(engine, gridSize, gamma) {
  const exact = qStar(gridSize, gamma);
  const learned = exact.map((_, row) => qTable(engine, gridSize, row));
  let wins = 0;
  table(gridSize, (fruit, start) => {
    let basket = start;
    for (const row of learned)
      basket = moved(gridSize, basket, greedy(row[fruit][basket - 1], FRUIT.actions));
    wins += Math.abs(fruit - basket) <= 1;
  });
  const values = exact.flat(3), errors = learned.flat(3).map((q, n) => Math.abs(q - values[n]));
  return { wins, qError: errors.reduce((total, error) => total + error, 0) / errors.length };
}
