"""The command line: words, flags, exit codes; no logic.

Exit codes (docs/command_line.md): 0 done, 1 a check that failed, 2 something that the user can mend (one sentence on
stderr), 130 stopped by Ctrl-C.
"""

import io
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from hw.errors import Interrupted, PacemakerError
from pacemaker import doctor, hardware, runs, simulations, sweeps


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"pacemaker {version('pacemaker-codesign')}")
        raise typer.Exit


app = typer.Typer(
    name="pacemaker",
    help="Distil a CNN into 1xN filters, simulate it line by line, turn it into hardware, report all of it in one row.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


@app.callback()
def _before(
    version: Annotated[
        bool, typer.Option("--version", help="Tell the version.", is_eager=True, callback=_tell_version)
    ] = False,
) -> None:
    pass


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
    doctor.doctor,
):
    app.command()(command)


def main() -> None:
    """Run a command; what the user can mend becomes one sentence and exit code 2."""
    _have_streams()
    _print_any_letter()
    try:
        app(prog_name="pacemaker")
    except Interrupted as error:
        typer.echo(f"pacemaker: {error}", err=True)
        sys.exit(130)
    except PacemakerError as error:
        typer.echo(f"pacemaker: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:  # before typer listens
        typer.echo("pacemaker: stopped", err=True)
        sys.exit(130)
    except SystemExit as ended:
        if ended.code == 130:  # typer ends so at Ctrl-C, without a word
            typer.echo("pacemaker: stopped", err=True)
        raise
    except (RuntimeError, ValueError) as error:
        from hw.tools import cure_of_numba

        cure = cure_of_numba(str(error))
        if not cure:
            raise
        typer.echo(f"pacemaker: {str(error).rstrip('.')}; {cure}", err=True)
        sys.exit(2)
    except OSError as error:
        typer.echo(f"pacemaker: {error.filename or 'output'}: {error.strerror}", err=True)
        sys.exit(2)


def _have_streams() -> None:
    """Give streams that were closed (`>&-`) the null device, before a file takes their number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for the whole process


def _print_any_letter() -> None:
    r"""What a terminal's encoding does not have is printed as \xfc and the like, instead of ending in an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # it may be closed, or a test's
            stream.reconfigure(errors="backslashreplace")
