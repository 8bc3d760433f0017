"""A solution of exercise 7."""


def td_targets(q_values, actions, rewards, next_q_values, gamma):
    """The chosen action's value is replaced, one experience after the other."""
    targets = q_values.copy()
    for n in range(len(targets)):
        ended = rewards[n] != 0
        best = next_q_values[n].max()
        targets[n, actions[n] + 1] = rewards[n] if ended else gamma * best
    return targets
