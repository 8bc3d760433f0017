// The game, as in minidqn/fruit.py, and its exact values, as in minidqn/exact.py.

const ACTIONS = [-1, 0, 1]; // left, stay, right: columns that the basket moves in one step

// As draw in minidqn/fruit.py.
// One frame: zeros, and ones for the fruit and the three pixels of the basket.
function draw(gridSize, fruitRow, fruitColumn, basket) {
  const frame = zeros(gridSize, gridSize, 1);
  frame.data[fruitRow * gridSize + fruitColumn] = 1;
  for (let column = basket - 1; column <= basket + 1; column++)
    frame.data[(gridSize - 1) * gridSize + column] = 1;
  return frame;
}

// As the last line of _fall in minidqn/fruit.py.
// Where the basket's centre is after an action: the walls hold it.
function moved(gridSize, basket, action) {
  return Math.min(Math.max(basket + action, 1), gridSize - 2);
}

// As episode in minidqn/fruit.py.
// One game, as a generator: the coroutine of Python. ep.next() draws the first frame,
// ep.next(action) plays one step, and what both return has {value: [S, reward]}. A reward
// that is not 0 comes with the last frame.
function* episode(gridSize, [fruitColumn, basket]) {
  for (let fruitRow = 0; fruitRow < gridSize - 1; fruitRow++) {
    let reward = 0;
    if (fruitRow === gridSize - 2) reward = Math.abs(fruitColumn - basket) <= 1 ? 1 : -1;
    const action = yield [draw(gridSize, fruitRow, fruitColumn, basket), reward];
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
    q[row] = table(gridSize, (fruit, basket) => ACTIONS.map((action) => {
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
