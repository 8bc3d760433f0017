"""``python -m minidqn.images RUN``: the charts of a saved run, drawn anew."""

from minidqn import cli, runs
from minidqn.pictures import save_charts
from minidqn.train import play_test_games

__all__ = ["main"]


def _parser():
    """The command line."""
    parser = cli.Parser(
        prog="python -m minidqn.images",
        description="Draw what a saved run has learned: its curve, wins, values and filters.",
    )
    cli.add_run(parser, f"folder for {', '.join(runs.CHARTS)}, which are replaced")
    return parser


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        Exit status 0.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    settings, model, game = cli.loaded_run(parser, arguments.run, arguments.game)
    with cli.reading(parser, arguments.run):
        records = runs.read_metrics(arguments.run, settings.epochs)
    with cli.writing_run(parser, arguments) as folder:
        with cli.announce_compilation():
            frames = play_test_games(model, settings, 1, game)[0][0]
        frame = frames[len(frames) // 2]
        for path in save_charts(folder, model, game, settings, records, frame):
            print(path)
    return 0


if __name__ == "__main__":
    cli.run(main)
