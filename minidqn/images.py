"""``python -m minidqn.images RUN``: the charts of a saved run, drawn anew."""

from minidqn import cli, runs
from minidqn.pictures import save_charts
from minidqn.train import play_test_games


def main(argv: list[str] | None = None) -> int:
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
    what = "Draw what a saved run has learned: its curve, wins, values and filters."
    out = f"folder for {', '.join(runs.CHARTS)}, which are replaced"
    parser = cli.run_parser("images", what, out)
    arguments = parser.parse_args(argv)
    settings, model, game = cli.loaded_run(parser, arguments)
    with cli.reading(parser, arguments.run):
        records = runs.read_metrics(arguments.run, settings.goal)
    with cli.writing_run(parser, arguments) as folder:
        with cli.announce_compilation():
            played = play_test_games(model, settings, 1, game)
        for path in save_charts(folder, model, game, settings, records, played):
            print(path)
    return 0


if __name__ == "__main__":
    cli.run(main)
