"""The command line: words, flags, exit codes; no logic.

Exit codes: 0 done, 1 a comparison that failed, 2 something that the user can mend (one sentence on stderr), 130 stopped
by Ctrl-C.
"""

import sys

import typer

from hw.errors import Interrupted, PacemakerError
from pacemaker import hardware, runs, simulations, sweeps

app = typer.Typer(
    name="pacemaker",
    help="Distil a CNN into 1xN filters, simulate it line by line, turn it into hardware, report all of it in one row.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

for command in (
    runs.codesign,
    runs.distill,
    runs.evaluate,
    simulations.simulate,
    simulations.memory,
    simulations.lines,
    hardware.generate,
    hardware.synth,
    hardware.export,
    simulations.fifos,
    simulations.timeline,
    simulations.sensor,
    hardware.cosim,
    runs.report,
    sweeps.sweep,
):
    app.command()(command)


def main() -> None:
    """Run a command; what the user can mend becomes one sentence and exit code 2."""
    try:
        app(prog_name="pacemaker")
    except Interrupted as error:
        typer.echo(f"pacemaker: {error}", err=True)
        sys.exit(130)
    except PacemakerError as error:
        typer.echo(f"pacemaker: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("pacemaker: stopped", err=True)
        sys.exit(130)
    except OSError as error:
        typer.echo(f"pacemaker: {error.filename or 'output'}: {error.strerror}", err=True)
        sys.exit(2)
