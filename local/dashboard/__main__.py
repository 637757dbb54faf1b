"""`make dashboard`: some minutes of trouble on the local cloud, and docs/dashboard.png of what came of it."""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from local.cloud import LocalCloudError, Stack, local_cloud
from local.dashboard.emitted import Window, samples
from local.dashboard.picture import draw
from local.dashboard.trouble import Trouble

_PLOT = Path(__file__).parents[2] / "docs" / "dashboard.png"
_SECONDS = 240.0
_A_POINT = 10.0


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    try:
        with local_cloud() as stack, Trouble.on(stack) as trouble:
            print(f"dashboard: {options.seconds:.0f} s of trouble", flush=True)
            begun = time.time()
            trouble.run(options.seconds)
            window = Window(begun, int((time.time() - begun) // _A_POINT), _A_POINT)
            lines = stack.logs()
            draw(deployed(stack), list(samples(lines)), list(structured(lines)), window, options.plot)
    except LocalCloudError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"dashboard: {options.plot}")
    return 0


def deployed(stack: Stack) -> dict[str, Any]:
    """The body of the stack's dashboard."""
    with closing(stack.aws.client("cloudwatch", endpoint_url=stack.endpoint_url)) as cloudwatch:
        name = stack.outputs["DashboardName"]
        body: dict[str, Any] = json.loads(cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"])
    return body


def structured(lines: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """The lines that our functions logged and that are no metrics, by their time."""
    read = [json.loads(line) for line in lines if line.startswith('{"level"')]
    yield from sorted(read, key=lambda line: str(line["timestamp"]))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make dashboard", description=__doc__)
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="how long it lasts (%(default)s)")
    parser.add_argument("--plot", type=Path, default=_PLOT, help="where the picture goes (%(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
