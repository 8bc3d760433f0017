// The game of Snake, as in minidqn/snake.py.

const SNAKE = {
  actions: [0, 1, 2, 3],
  names: ["up", "right", "down", "left"],
  keys: ["ArrowUp", "ArrowRight", "ArrowDown", "ArrowLeft"],
  begin: (gridSize, random) => snakeEpisode(gridSize, random),
};
const SNAKE_MOVES = [[-1, 0], [0, 1], [1, 0], [0, -1]]; // of each action: row and column

// As episode in minidqn/snake.py.
// One game, as a generator: the coroutine of Python. A cell is a whole number, row * G + column,
// so that cells are in order. The chances are Python's, though drawn by other calls: where the
// head is, and where food appears among the free cells.
function* snakeEpisode(gridSize, random) {
  const count = gridSize * gridSize;
  let snake = [random.integers(count)], food = drawFood(count, snake, random);
  let reward = 0, crashed = false, hungry = 0;
  while (true) {
    const frame = drawSnake(gridSize, snake, food);
    const action = yield {
      frame, reward, terminated: crashed || food === null, truncated: hungry === count,
    };
    const row = Math.floor(snake[0] / gridSize) + SNAKE_MOVES[action][0];
    const column = snake[0] % gridSize + SNAKE_MOVES[action][1];
    const head = row * gridSize + column;
    const outside = Math.min(row, column) < 0 || Math.max(row, column) >= gridSize;
    crashed = outside || snake.slice(0, -1).includes(head);
    reward = crashed ? -1 : 0;
    hungry += 1;
    if (!outside && head === food) {
      [reward, hungry, snake] = [1, 0, [head, ...snake]];
      food = drawFood(count, snake, random);
    } else if (!crashed) {
      snake = [head, ...snake.slice(0, -1)];
    }
  }
}

// A free cell, or null if there is none.
function drawFood(count, snake, random) {
  const free = [...Array(count).keys()].filter((cell) => !snake.includes(cell));
  return free.length > 0 ? free[random.integers(free.length)] : null;
}

// One frame of three channels, the body, the head and the food: zeros, and ones where they are.
function drawSnake(gridSize, snake, food) {
  const count = gridSize * gridSize, data = new Float32Array(3 * count);
  for (const cell of snake.slice(1)) data[cell] = 1;
  data[count + snake[0]] = 1;
  if (food !== null) data[2 * count + food] = 1;
  return { shape: [3, gridSize, gridSize], data };
}
