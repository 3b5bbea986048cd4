"""What the commands that race whole models share: their options, the header, the run."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from typing import Any

from benchmarks import command, plots, report
from benchmarks.models import MODELS
from benchmarks.protocol import PEERS, PeerError, Rules, Worker
from benchmarks.sections import Settings, run_section

QUICK = ("1", "2", "3", "5")
NUMBERS = {str(i): model for i, model in enumerate(MODELS, 1)}
FREQUENCIES = {"zipf": "those of natural text, 1/rank", "uniform": "all the same"}


def parser(
    name: str, description: str, peers: Collection[str], sections: Collection[str]
) -> argparse.ArgumentParser:
    """Return the command line's description, for a command that knows these peers and sections."""
    models = "Models: " + "; ".join(f"{number} {model.title}" for number, model in NUMBERS.items())
    made = command.parser(name, description, epilog=models)
    add = made.add_argument
    add("--models", type=command.names_of(NUMBERS), help="their numbers, 1,2,5 for example; all by default")
    add(
        "--peers",
        type=command.names_of(peers),
        default=list(peers),
        help=f"of {', '.join(peers)}; all by default",
    )
    add(
        "--sections",
        type=command.names_of(sections),
        default=list(sections),
        help=f"of {', '.join(sections)}",
    )
    add("--seconds", type=float, help="how long one timing should last")
    add("--limit", type=float, default=180.0, help="seconds a side may take to compile")
    add("--tokens", choices=FREQUENCIES, default="zipf", help="how often words occur")
    add("--quick", action="store_true", help="fewer models, rounds and sizes: two minutes")
    add("--tiny", action="store_true", help="tiny models: to see that everything runs")
    return made


def settings_from(options: argparse.Namespace) -> Settings:
    """Return what the parsed command line asks for."""
    chosen = options.models or (QUICK if options.quick else NUMBERS)
    return Settings(
        models=[NUMBERS[number] for number in chosen],
        peers=options.peers,
        rules=Rules(
            rounds=options.rounds or (3 if options.quick else 7),
            seconds=options.seconds or (0.1 if options.quick else 0.4),
            limit=options.limit,
            settle=0.0 if options.tiny else 0.15,
        ),
        tokens=options.tokens,
        tiny=options.tiny,
        every=4 if options.quick else 1,
    )


def header(settings: Settings, threads: int, workers: dict[str, Worker], about: Sequence[str]) -> list[str]:
    """Return lines that say what is measured, with what, on what."""
    rules = settings.rules
    lines = [
        command.machine(),
        *about,
        f"{threads} threads each; medians of {rules.rounds} timings of {rules.seconds:g} s or more, sides in "
        "turn; ± half the distance of the quartiles",
        f"float32, Adam; the frequencies of words are {FREQUENCIES[settings.tokens]}",
    ]
    if settings.tiny:
        lines.append("TINY MODELS: these figures mean nothing")
    for name, worker in workers.items():
        try:
            note = worker.ask("describe")
            lines.append(f"{name}: {PEERS[name].versions()}" + (f"; {note}" if note else ""))
        except PeerError as error:
            lines.append(f"{name}: {error}")
    return lines


def run(
    options: argparse.Namespace, always: Collection[str], file: str, about: Sequence[str] = ()
) -> dict[str, Any]:
    """Race and print; write a file of results, and plots.

    Parameters
    ----------
    options : argparse.Namespace
        Parsed by what `parser` returns.
    always : collection of str
        The sides that take part beside the chosen peers.
    file : str
        The name of the file of results.
    about : sequence of str
        Lines for the header, about the machine.

    Returns
    -------
    dict
        ``header``, and by name ``sections``: what `benchmarks.sections.run_section` returns.
    """
    if options.markdown:
        results = command.load(options.markdown)
        print(report.markdown(results["header"], report.tables(results["sections"])))
        return results
    settings, console = settings_from(options), command.console()
    options.out.mkdir(parents=True, exist_ok=True)
    log = options.out / "peers.log"
    log.write_text("", encoding="utf-8")
    taking_part = [name for name in PEERS if name in always or name in settings.peers]
    workers = {name: Worker(name, options.threads, log) for name in taking_part}
    sections: dict[str, list] = {}
    try:
        results = {"header": header(settings, options.threads, workers, about), "sections": sections}
        console.print(*results["header"], sep="\n")
        with console.status("") as status:
            for name in options.sections:
                sections[name] = run_section(name, settings, workers, status.update)
                command.save(results, options.out / file)
                console.print(*(table.to_rich() for table in report.tables({name: sections[name]})))
    finally:
        for worker in workers.values():
            worker.close()
    console.print(*plots.draw(sections, options.out), sep="\n")
    return results
