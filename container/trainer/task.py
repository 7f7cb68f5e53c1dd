"""The container's entry point: ``python -m trainer.task [train|evaluate|predict] --model MODEL FLAGS``.

Exit codes: 0 done; 2 bad arguments or bad data, with one line on standard error that says what and where; 143
left on SIGTERM; anything else is a crash.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

if not __package__:
    # Started by its path: Python put this folder in front, where the modules' names are other ones.
    sys.path[0] = str(Path(__file__).resolve().parents[1])


def main(argv: Sequence[str]) -> int:
    """Do what the command line says.

    :param argv: without the program's name.
    :returns: the exit code.
    """
    from trainer import log
    from trainer.cluster import Cluster, read_cluster
    from trainer.errors import InputError, PeerError
    from trainer.models import MODELS, read_command

    cluster = Cluster()
    try:
        command, name, words = read_command(argv)
        model = MODELS["wals" if command == "evaluate" else name]
        arguments = model.parse(command, words)
        if not arguments.verbose_logging:
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        if command == "evaluate":
            from trainer.evaluation.command import evaluate

            evaluate(arguments)
        elif command == "predict":
            model.predict(arguments)
        else:
            cluster = read_cluster(os.environ)
            model.train(arguments, cluster)
    except InputError as error:
        log.fatal(str(error))
        return 2
    except PeerError as error:
        log.fatal(f"{cluster.name}: {error}")
        return 1
    return 0


def _run() -> None:
    from trainer import leaving

    leaving.watch()
    try:
        code = main(sys.argv[1:])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # A cluster's connections may keep an orderly exit waiting for peers that are gone.
    os._exit(code)


if __name__ == "__main__":
    _run()
